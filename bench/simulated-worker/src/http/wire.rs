//! How an endpoint writes answers: the part in which the three inference endpoints differ. Where two of them agree, as
//! the OpenAI endpoints do on errors, their form is the default.

use super::{
    choice::{Choice, Ending, Piece},
    errors::Refusal,
    openai,
};
use crate::ticket::Abort;
use axum::response::Response;
use http::StatusCode;

pub(crate) trait Wire: Send + Sync + 'static {
    /// `/generate` sends the head of a stream before it has looked at the request; the OpenAI endpoints wait for the
    /// first event, and so can still refuse with a status.
    const HEAD_FIRST: bool = false;

    /// Whether an error of one choice ends the whole stream.
    const FAILS_WHOLE: bool = true;

    /// One event with the tokens of `piece`, and the end if it is reached.
    fn event(
        &mut self,
        out: &mut String,
        choice: &Choice,
        piece: Piece,
        ending: Option<Ending<'_>>,
    );

    /// An error inside a stream.
    fn failure(&self, out: &mut String, _choice: &Choice, abort: &Abort) {
        openai::streamed_error(out, abort);
    }

    /// What follows the last token of a stream, up to `[DONE]`.
    fn close(&self, out: &mut String, choices: &[Choice]);

    /// The answer that is not streamed.
    fn whole(&self, choices: &[Choice]) -> String;

    /// A request that isn't served, as a response.
    fn refuse(refusal: &Refusal) -> Response {
        openai::refuse(refusal)
    }

    /// The same inside a stream whose head is out.
    fn refuse_in_stream(out: &mut String, refusal: &Refusal) {
        openai::streamed_error(out, &Abort::new(400, refusal.message()));
    }

    /// A request that failed in the engine and isn't streamed.
    fn failed(abort: &Abort) -> Response {
        let status = abort
            .status
            .and_then(|status| StatusCode::from_u16(status).ok());
        match status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR) {
            StatusCode::BAD_REQUEST => Self::refuse(&Refusal::Invalid(abort.message.to_string())),
            status => super::errors::failed(status, &abort.message),
        }
    }
}

pub(crate) const DONE: &str = "data: [DONE]\n\n";
