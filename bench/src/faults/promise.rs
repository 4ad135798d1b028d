//! Two figures of what holds before the first byte: what a dead worker costs the requests that would have gone to it,
//! and how soon the other half of a pair is free when one half dies.

use super::{
    ask::ask,
    case::{HELD, Leg},
    outcome::Outcome,
    results::{Dead, Promise},
    turn::{Running, Stage, TurnError},
};
use crate::{
    peers::contender::Contender,
    wire::{Endpoint, HttpClient, Prepared},
};
use http::HeaderMap;
use simulated_worker::Fault;
use std::time::Duration;
use tokio::{
    sync::watch,
    time::{Instant, interval, sleep, timeout},
};

/// Requests of a round: with two workers, ten of them would have gone to the dead one.
const REQUESTS: u64 = 20;

/// Between two looks at a worker.
const LOOK_EVERY: Duration = Duration::from_millis(2);

/// How long a pair that lost its half is watched.
const WATCHED: Duration = Duration::from_secs(8);

/// Both halves have the request by then.
const SENT: Duration = Duration::from_millis(150);

impl Stage {
    pub async fn promise(&self, contender: Contender, leg: Leg) -> Result<Promise, TurnError> {
        Ok(Promise {
            contender,
            leg,
            dead: self.one_dead(contender, leg).await?,
            other_leg_free_ms: self.other_leg(contender, leg).await?,
        })
    }

    async fn one_dead(&self, contender: Contender, leg: Leg) -> Result<Dead, TurnError> {
        let mut running = self.enter(contender, &[]).await?;
        let (_, slowest_alive_ms) = self.one_by_one(&running, 0).await?;
        running
            .fleet
            .kill_first(leg)
            .await
            .map_err(TurnError::Fleet)?;
        let (right, slowest_dead_ms) = self.one_by_one(&running, REQUESTS).await?;
        Ok(Dead {
            asked: REQUESTS,
            right,
            slowest_alive_ms,
            slowest_dead_ms,
        })
    }

    /// Right answers, and the slowest of all.
    async fn one_by_one(&self, running: &Running, first: u64) -> Result<(u64, u64), TurnError> {
        let http = HttpClient::new();
        let (begun, _) = watch::channel(0);
        let (mut right, mut slowest) = (0, 0);
        let to = Prepared::new(&running.url, Endpoint::Chat.path(), HeaderMap::new());
        let to = to.map_err(TurnError::Url)?;
        for number in first..first + REQUESTS {
            let question = self.question(Endpoint::Chat, number.is_multiple_of(2), number);
            let asked = ask(&http, &to, &question, &begun, self.limit).await;
            right += u64::from(asked.outcome == Outcome::Right);
            slowest = slowest.max(asked.took.as_millis() as u64);
        }
        Ok((right, slowest))
    }

    /// From the death of a worker that holds a request until its partner is free; without retries, which would give the
    /// partner something new to do. None where it isn't free in the time that it is watched.
    async fn other_leg(&self, contender: Contender, leg: Leg) -> Result<Option<u64>, TurnError> {
        let mut running = self.enter(contender, &["--disable-retries"]).await?;
        let other = match leg {
            Leg::Prefill => Leg::Decode,
            Leg::Decode => Leg::Prefill,
        };
        let held = Fault::StallBeforeHead {
            // Beyond the time that is watched.
            stall_ms: Some((HELD + 2 * WATCHED).as_millis() as u64),
        };
        let in_fleet = TurnError::Fleet;
        running.fleet.fault_all(leg, held).await.map_err(in_fleet)?;
        let http = HttpClient::new();
        let (begun, _) = watch::channel(0);
        let to = Prepared::new(&running.url, Endpoint::Chat.path(), HeaderMap::new());
        let to = to.map_err(TurnError::Url)?;
        // Two, so that one of them is with the worker that dies.
        let questions = [0, 1].map(|number| self.question(Endpoint::Chat, true, number));
        let [first, second] = &questions;
        let watched = async {
            sleep(SENT).await;
            let before = running.fleet.in_flight(other).await.map_err(in_fleet)?;
            running.fleet.kill_first(leg).await.map_err(in_fleet)?;
            let died = Instant::now();
            let freed = async {
                let mut looks = interval(LOOK_EVERY);
                loop {
                    looks.tick().await;
                    if running.fleet.in_flight(other).await.map_err(in_fleet)? < before {
                        return Ok(died.elapsed().as_millis() as u64);
                    }
                }
            };
            timeout(WATCHED, freed).await.ok().transpose()
        };
        tokio::select! {
            // Whoever asks goes on waiting: that the client leaves must not be what frees the worker.
            freed = watched => freed,
            () = async {
                tokio::join!(
                    ask(&http, &to, first, &begun, 4 * WATCHED),
                    ask(&http, &to, second, &begun, 4 * WATCHED),
                );
                std::future::pending::<()>().await;
            } => unreachable!("it never ends"),
        }
    }
}
