//! The door: how many requests may be in the router at once, and how many may come a second.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};
use prometheus::IntGauge;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::config::AdmissionSettings;

/// Why a request was not let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    /// As many wait as may.
    QueueFull,
    /// It waited as long as it may.
    TimedOut,
    /// More came this second than may.
    RateLimited,
}

#[derive(Debug)]
pub struct Admission {
    places: Option<Arc<Semaphore>>,
    waiting: AtomicUsize,
    /// The same for whoever looks.
    queued: IntGauge,
    queue_size: usize,
    queue_timeout: Duration,
    rate: Option<DefaultDirectRateLimiter>,
}

impl Admission {
    /// `queued` is kept at the number of requests that wait.
    pub fn new(settings: &AdmissionSettings, queued: IntGauge) -> Self {
        let places = settings
            .max_concurrent_requests
            .map(|n| Arc::new(Semaphore::new(n.min(Semaphore::MAX_PERMITS))));
        let rate = settings.rate_limit_per_second.and_then(NonZeroU32::new);
        Self {
            places,
            waiting: AtomicUsize::new(0),
            queued,
            queue_size: settings.queue_size,
            queue_timeout: settings.queue_timeout,
            rate: rate.map(|per_second| RateLimiter::direct(Quota::per_second(per_second))),
        }
    }

    /// Lets a request in, waiting in line where the router is full. The permit is held until the request ends.
    pub async fn admit(&self) -> Result<Option<OwnedSemaphorePermit>, Refused> {
        if self.rate.as_ref().is_some_and(|rate| rate.check().is_err()) {
            return Err(Refused::RateLimited);
        }
        let Some(places) = &self.places else {
            return Ok(None);
        };
        if let Ok(permit) = Arc::clone(places).try_acquire_owned() {
            return Ok(Some(permit));
        }
        let _waiting = Waiting::join(self).ok_or(Refused::QueueFull)?;
        match tokio::time::timeout(self.queue_timeout, Arc::clone(places).acquire_owned()).await {
            Ok(permit) => Ok(Some(permit.expect("the semaphore is never closed"))),
            Err(_) => Err(Refused::TimedOut),
        }
    }
}

/// A place in the line, given back on drop: also when the client leaves it.
struct Waiting<'a>(&'a Admission);

impl<'a> Waiting<'a> {
    fn join(admission: &'a Admission) -> Option<Self> {
        let (line, longest) = (&admission.waiting, admission.queue_size);
        let joined = line.fetch_update(Ordering::AcqRel, Ordering::Relaxed, |n| {
            (n < longest).then_some(n + 1)
        });
        joined.is_ok().then(|| {
            admission.queued.inc();
            Self(admission)
        })
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::AcqRel);
        self.0.queued.dec();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gauge() -> IntGauge {
        IntGauge::new("queued", "Requests that wait").unwrap()
    }

    fn admission(places: usize, queue_size: usize) -> Admission {
        let settings = AdmissionSettings {
            max_concurrent_requests: Some(places),
            queue_size,
            queue_timeout: Duration::from_secs(60),
            rate_limit_per_second: None,
        };
        Admission::new(&settings, gauge())
    }

    #[tokio::test(start_paused = true)]
    async fn a_full_router_queues_then_refuses_then_gives_up() {
        let admission = admission(1, 1);
        let held = admission.admit().await.unwrap();
        let look = async { admission.queued.get() };
        let (second, third, queued) = tokio::join!(admission.admit(), admission.admit(), look);
        assert_eq!(queued, 1);
        assert_eq!(admission.queued.get(), 0);
        assert_eq!(second.unwrap_err(), Refused::TimedOut);
        assert_eq!(third.unwrap_err(), Refused::QueueFull);
        drop(held);
        assert!(admission.admit().await.unwrap().is_some());
    }

    #[tokio::test]
    async fn a_rate_limit_refuses_what_comes_too_fast() {
        let settings = AdmissionSettings {
            max_concurrent_requests: None,
            queue_size: 0,
            queue_timeout: Duration::from_secs(1),
            rate_limit_per_second: Some(1),
        };
        let admission = Admission::new(&settings, gauge());
        assert!(admission.admit().await.is_ok());
        assert_eq!(admission.admit().await.unwrap_err(), Refused::RateLimited);
    }
}
