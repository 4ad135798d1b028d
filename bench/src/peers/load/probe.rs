//! Single questions to a server that may not be ready yet.

use super::{
    Load, Prompts,
    connection::{ConnectError, Connection, Target},
    question::Question,
    reading,
};
use crate::load::Failure;
use bytes::Bytes;
use http_body_util::BodyExt;
use std::time::Duration;
use tokio::time::timeout;

/// A router that isn't ready may hold a request until a worker comes.
const PATIENCE: Duration = Duration::from_secs(2);

const TOKENS: u32 = 4;

/// A connection for questions.
pub struct Probe<'a> {
    target: &'a Target,
    connection: Connection,
    question: Question,
}

impl<'a> Probe<'a> {
    pub async fn of(target: &'a Target) -> Result<Self, ConnectError> {
        let load = Load {
            clients: 1,
            prompts: Prompts::Small,
            tokens: TOKENS,
            streamed: false,
            spread: Duration::ZERO,
        };
        let question = load.prompts.questions(&load, 0).swap_remove(0);
        Ok(Self {
            target,
            connection: target.connect().await?,
            question,
        })
    }

    /// A small chat that must be answered rightly.
    pub async fn chat(&mut self) -> Result<(), Failure> {
        let body = self.question.body.clone();
        let answered = timeout(PATIENCE, async {
            let response = self.connection.post(self.target, body).await?;
            let body = response.into_body().collect().await;
            Ok(body.map_err(|_| Failure::Broken)?.to_bytes())
        });
        let body = answered.await.unwrap_or(Err(Failure::Timeout))?;
        reading::whole(self.question.name, TOKENS, &body)
    }

    pub async fn get(&mut self, path: &'static str) -> Result<Bytes, Failure> {
        let answered = timeout(PATIENCE, async {
            let response = self.connection.get(self.target, path).await?;
            let body = response.into_body().collect().await;
            Ok(body.map_err(|_| Failure::Broken)?.to_bytes())
        });
        answered.await.unwrap_or(Err(Failure::Timeout))
    }
}
