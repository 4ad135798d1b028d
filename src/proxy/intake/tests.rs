use std::convert::Infallible;

use futures_util::StreamExt as _;
use futures_util::stream;
use prometheus::{IntCounter, IntGauge};

use super::*;

const LIMIT: Duration = Duration::from_secs(60);

struct Bench {
    memory: Arc<BodyMemory>,
    held: IntGauge,
}

impl Bench {
    fn new(most: usize) -> Self {
        let held = IntGauge::new("held", "What is held").unwrap();
        let refused = IntCounter::new("refused", "What was refused").unwrap();
        let memory = BodyMemory::new(Some(most), held.clone(), refused);
        Self { memory, held }
    }

    async fn read(&self, longest: usize, body: Body) -> Result<Bytes, StatusCode> {
        let intake = Intake {
            memory: &self.memory,
            longest,
            limit: LIMIT,
        };
        intake.read(body).await.map_err(|error| match error {
            RouteError::Body { status, .. } => status,
            RouteError::Refused(Refused::NoMemory) => StatusCode::SERVICE_UNAVAILABLE,
            other => panic!("{other:?}"),
        })
    }
}

/// A body that doesn't say how long it is: pieces of `size` bytes, one every `pause`.
fn dripping(pieces: usize, size: usize, pause: Duration) -> Body {
    Body::from_stream(stream::iter(0..pieces).then(move |number| async move {
        if number > 0 {
            tokio::time::sleep(pause).await;
        }
        Ok::<_, Infallible>(vec![b'x'; size])
    }))
}

#[tokio::test(start_paused = true)]
async fn a_body_of_one_piece_stays_where_it_is() {
    let bench = Bench::new(100);
    let body = Bytes::from(vec![b'x'; 60]);
    let at = body.as_ptr();
    let read = bench.read(100, Body::from(body)).await.unwrap();
    assert_eq!((read.as_ptr(), read.len()), (at, 60));
    assert_eq!(bench.held.get(), 60);
    drop(read);
    assert_eq!(bench.held.get(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_body_in_pieces_holds_what_it_is_long() {
    let bench = Bench::new(10_000_000);
    let read = bench.read(1_000_000, dripping(300, 1_001, Duration::ZERO));
    let read = read.await.unwrap();
    assert_eq!((read.len(), bench.held.get()), (300_300, 300_300));
    assert_eq!(bench.read(100, Body::empty()).await.unwrap(), Bytes::new());
    drop(read);
    assert_eq!(bench.held.get(), 0);
}

#[tokio::test(start_paused = true)]
async fn what_is_too_long_or_too_much_is_refused_and_holds_nothing() {
    let bench = Bench::new(100_000);
    let told = |length| Body::from(vec![b'x'; length]);
    assert_eq!(
        bench.read(50, told(51)).await,
        Err(StatusCode::PAYLOAD_TOO_LARGE)
    );
    let never = bench.read(1_000_000, told(100_001)).await;
    assert_eq!(
        never,
        Err(StatusCode::PAYLOAD_TOO_LARGE),
        "never, not later"
    );
    let dripped = bench
        .read(50_000, dripping(60, 1_000, Duration::ZERO))
        .await;
    assert_eq!(dripped, Err(StatusCode::PAYLOAD_TOO_LARGE));
    let first = bench.read(100_000, told(80_000)).await.unwrap();
    assert_eq!(
        bench.read(100_000, told(20_001)).await,
        Err(StatusCode::SERVICE_UNAVAILABLE)
    );
    let dripped = bench
        .read(100_000, dripping(60, 1_000, Duration::ZERO))
        .await;
    assert_eq!(
        dripped,
        Err(StatusCode::SERVICE_UNAVAILABLE),
        "in the midst of it"
    );
    assert_eq!(bench.held.get(), 80_000);
    drop(first);
    assert_eq!(bench.held.get(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_leaves_gives_back_what_was_held() {
    let bench = Bench::new(1_000_000);
    let reading = bench.read(1_000_000, dripping(100, 1_000, Duration::from_secs(1)));
    let left = tokio::time::timeout(Duration::from_millis(50_500), reading).await;
    assert!(left.is_err());
    assert_eq!(bench.held.get(), 0);
}

/// Pieces, their size, seconds between them, and after how many seconds it is given up.
#[tokio::test(start_paused = true)]
async fn a_body_may_take_its_time_and_not_drip() {
    let table = [
        (59, 1, 1, None),
        (100, 1, 1, Some(60)),
        (2, 1, 61, Some(60)),
        // Three steps, each in just under a minute.
        (48, 64 * 1024, 3, None),
        // The second step is too slow.
        (48, 64 * 1024, 4, Some(120)),
        (20, 64 * 1024, 5, Some(60)),
    ];
    for (pieces, size, pause, given_up) in table {
        let bench = Bench::new(usize::MAX);
        let began = Instant::now();
        let body = dripping(pieces, size, Duration::from_secs(pause));
        let read = bench.read(usize::MAX, body).await;
        match given_up {
            None => assert_eq!(read.map(|body| body.len()), Ok(pieces * size)),
            Some(after) => {
                assert_eq!(
                    read,
                    Err(StatusCode::REQUEST_TIMEOUT),
                    "{pieces} {size} {pause}"
                );
                assert_eq!(began.elapsed(), Duration::from_secs(after));
            }
        }
        assert_eq!(bench.held.get(), 0);
    }
}
