//! The door: how many requests may be in the router at once, how many may come a second, and how much memory their bodies
//! may take.

use std::num::NonZeroU32;
use std::sync::Arc;

use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::memory::BodyMemory;
use super::waiting_room::WaitingRoom;
use crate::config::AdmissionSettings;
use crate::telemetry::HttpFamilies;

/// Why a request was not let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    /// As many wait as may.
    QueueFull,
    /// It waited as long as it may.
    TimedOut,
    /// More came this second than may.
    RateLimited,
    /// The bodies of those that are in the router leave no room for its own.
    NoMemory,
}

#[derive(Debug)]
pub struct Admission {
    places: Option<Arc<Semaphore>>,
    room: Arc<WaitingRoom>,
    rate: Option<DefaultDirectRateLimiter>,
    pub bodies: Arc<BodyMemory>,
}

impl Admission {
    /// Those that find no place wait in `room`.
    pub fn new(settings: &AdmissionSettings, room: Arc<WaitingRoom>, http: &HttpFamilies) -> Self {
        let places = settings
            .max_concurrent_requests
            .map(|n| Arc::new(Semaphore::new(n.min(Semaphore::MAX_PERMITS))));
        let rate = settings.rate_limit_per_second.and_then(NonZeroU32::new);
        Self {
            places,
            room,
            rate: rate.map(|per_second| RateLimiter::direct(Quota::per_second(per_second))),
            bodies: BodyMemory::new(
                settings.max_request_memory,
                http.body_bytes.clone(),
                http.bodies_refused.clone(),
            ),
        }
    }

    /// Whether one more may come this second. To be asked before anything of a request is read.
    pub fn check_rate(&self) -> Result<(), Refused> {
        match &self.rate {
            Some(rate) if rate.check().is_err() => Err(Refused::RateLimited),
            Some(_) | None => Ok(()),
        }
    }

    /// Lets a request in, waiting in line where the router is full. The permit is held until the request ends.
    pub async fn admit(&self, prompt_tokens: u32) -> Result<Option<OwnedSemaphorePermit>, Refused> {
        let Some(places) = &self.places else {
            return Ok(None);
        };
        if let Ok(permit) = Arc::clone(places).try_acquire_owned() {
            return Ok(Some(permit));
        }
        let _waiting = self.room.join(prompt_tokens).ok_or(Refused::QueueFull)?;
        match tokio::time::timeout(self.room.patience, Arc::clone(places).acquire_owned()).await {
            Ok(permit) => Ok(Some(permit.expect("the semaphore is never closed"))),
            Err(_) => Err(Refused::TimedOut),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::config::{Config, QueueSettings};
    use crate::telemetry::Metrics;

    fn admission(settings: &AdmissionSettings, queue_size: usize) -> (Admission, Arc<Metrics>) {
        let metrics = Arc::new(Metrics::default());
        let queue = QueueSettings {
            size: queue_size,
            timeout: Duration::from_secs(60),
            ..Config::default().queue
        };
        let room = WaitingRoom::new(&queue, metrics.requests.queued());
        (Admission::new(settings, room, &metrics.http), metrics)
    }

    #[tokio::test(start_paused = true)]
    async fn a_full_router_queues_then_refuses_then_gives_up() {
        let settings = AdmissionSettings {
            max_concurrent_requests: Some(1),
            rate_limit_per_second: None,
            max_request_memory: None,
        };
        let (admission, metrics) = admission(&settings, 1);
        let queued = metrics.requests.queued();
        let held = admission.admit(7).await.unwrap();
        let look = async { (queued.requests(), queued.prompt_tokens()) };
        let (second, third, seen) = tokio::join!(admission.admit(8), admission.admit(9), look);
        assert_eq!(seen, (1, 8));
        assert_eq!((queued.requests(), queued.prompt_tokens()), (0, 0));
        assert_eq!(second.unwrap_err(), Refused::TimedOut);
        assert_eq!(third.unwrap_err(), Refused::QueueFull);
        drop(held);
        assert!(admission.admit(0).await.unwrap().is_some());
    }

    #[test]
    fn a_rate_limit_refuses_what_comes_too_fast() {
        let settings = AdmissionSettings {
            max_concurrent_requests: None,
            rate_limit_per_second: Some(1),
            max_request_memory: None,
        };
        let (admission, _) = admission(&settings, 0);
        assert_eq!(admission.check_rate(), Ok(()));
        assert_eq!(admission.check_rate(), Err(Refused::RateLimited));
    }
}
