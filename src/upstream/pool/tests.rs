use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::*;

const ANSWER: &[u8] =
    b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nab\r\n1\r\nc\r\n0\r\n\r\n";
const BEGUN: &[u8] = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nab\r\n";

/// A worker's socket, and a pool that has seen nothing yet.
async fn worker() -> (TcpListener, Url, Arc<Pool>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let url = Url::parse(&format!("http://{address}/v1/chat/completions?a=b")).unwrap();
    (listener, url, Arc::new(Pool::new(Duration::from_secs(5))))
}

/// Reads a request without a body.
async fn request(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.unwrap());
    }
    String::from_utf8(head).unwrap()
}

async fn asked(pool: &Arc<Pool>, url: &Url) -> Vec<u8> {
    use http_body_util::BodyExt as _;
    let response = pool.send(UpstreamRequest::get(url.clone())).await.unwrap();
    response
        .into_body()
        .collect()
        .await
        .unwrap()
        .to_bytes()
        .into()
}

#[tokio::test]
async fn an_answer_read_to_its_end_leaves_its_connection_to_the_next_request() {
    let (listener, url, pool) = worker().await;
    let serving = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        let head = request(&mut stream).await;
        stream.write_all(ANSWER).await.unwrap();
        request(&mut stream).await;
        stream.write_all(ANSWER).await.unwrap();
        head
    };
    let asking = async { [asked(&pool, &url).await, asked(&pool, &url).await] };
    let (head, answers) = tokio::join!(serving, asking);
    assert_eq!(answers, [b"abc", b"abc"]);
    assert!(
        head.starts_with("GET /v1/chat/completions?a=b HTTP/1.1\r\n"),
        "{head}"
    );
    assert!(
        head.contains(&format!("host: {}\r\n", url.authority())),
        "{head}"
    );
}

#[tokio::test]
async fn a_connection_that_the_worker_closed_while_it_was_idle_is_replaced_unseen() {
    let (listener, url, pool) = worker().await;
    let serving = async {
        for _ in 0..2 {
            let (mut stream, _) = listener.accept().await.unwrap();
            request(&mut stream).await;
            stream.write_all(ANSWER).await.unwrap();
        }
    };
    let asking = async { [asked(&pool, &url).await, asked(&pool, &url).await] };
    let ((), answers) = tokio::join!(serving, asking);
    assert_eq!(answers, [b"abc", b"abc"]);
}

#[tokio::test]
async fn an_answer_that_may_be_followed_by_anything_is_followed_by_a_new_connection() {
    let answers: [&[u8]; 4] = [
        b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 3\r\n\r\nabc",
        b"HTTP/1.1 200 OK\r\n\r\nabc",
        b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nabcHTTP/1.1 200 OK",
        b"HTTP/1.0 200 OK\r\ncontent-length: 3\r\n\r\nabc",
    ];
    for answer in answers {
        let (listener, url, pool) = worker().await;
        let serving = async {
            let (mut stream, _) = listener.accept().await.unwrap();
            request(&mut stream).await;
            stream.write_all(answer).await.unwrap();
        };
        let ((), answered) = tokio::join!(serving, asked(&pool, &url));
        let text = answer.escape_ascii();
        assert_eq!(answered, b"abc", "{text}");
        assert!(pool.idle.lock().is_empty(), "{text}");
    }
}

#[tokio::test]
async fn an_answer_that_comes_byte_by_byte_is_the_same() {
    let (listener, url, pool) = worker().await;
    let serving = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        request(&mut stream).await;
        for byte in [b"HTTP/1.1 100 Continue\r\n\r\n", ANSWER].concat() {
            stream.write_all(&[byte]).await.unwrap();
            tokio::task::yield_now().await;
        }
        stream
    };
    let (_stream, answered) = tokio::join!(serving, asked(&pool, &url));
    assert_eq!(answered, b"abc");
    assert_eq!(pool.idle.lock().len(), 1);
}

/// More than the sockets between two ends take.
const LARGE: usize = 32 * 1024 * 1024;

fn large(url: &Url) -> UpstreamRequest {
    UpstreamRequest::post_json(url.clone(), vec![b'x'; LARGE])
}

#[tokio::test]
async fn an_answer_that_begins_before_the_request_has_ended_is_read_while_the_rest_is_written() {
    use http_body_util::BodyExt as _;
    let (listener, url, pool) = worker().await;
    let serving = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        let head = request(&mut stream).await;
        assert!(
            head.contains(&format!("content-length: {LARGE}\r\n")),
            "{head}"
        );
        stream.write_all(BEGUN).await.unwrap();
        let mut body = vec![0; LARGE];
        stream.read_exact(&mut body).await.unwrap();
        stream.write_all(b"1\r\nc\r\n0\r\n\r\n").await.unwrap();
    };
    let asking = async {
        let response = pool.send(large(&url)).await.unwrap();
        response.into_body().collect().await.unwrap().to_bytes()
    };
    let ((), answered) = tokio::join!(serving, asking);
    assert_eq!(answered, &b"abc"[..]);
}

#[tokio::test]
async fn a_worker_that_refuses_a_request_before_it_has_read_it_is_heard() {
    let (listener, url, pool) = worker().await;
    let serving = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        request(&mut stream).await;
        let refusal = b"HTTP/1.1 413 Payload Too Large\r\ncontent-length: 3\r\n\r\nabc";
        stream.write_all(refusal).await.unwrap();
        stream
    };
    let (_stream, response) = tokio::join!(serving, pool.send(large(&url)));
    assert_eq!(
        response.unwrap().status(),
        http::StatusCode::PAYLOAD_TOO_LARGE
    );
    assert!(pool.idle.lock().is_empty(), "half a request was written");
}

#[tokio::test]
async fn dropping_an_answer_closes_its_connection() {
    let (listener, url, pool) = worker().await;
    let serving = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        request(&mut stream).await;
        stream.write_all(BEGUN).await.unwrap();
        stream.read(&mut [0]).await
    };
    let asking = async { drop(pool.send(UpstreamRequest::get(url.clone())).await.unwrap()) };
    let (closed, ()) = tokio::join!(serving, asking);
    assert!(matches!(closed, Ok(0) | Err(_)), "{closed:?}");
    assert!(pool.idle.lock().is_empty());
}

#[tokio::test]
async fn an_answer_that_breaks_off_is_an_error_of_the_body() {
    let (listener, url, pool) = worker().await;
    let serving = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        request(&mut stream).await;
        stream.write_all(BEGUN).await.unwrap();
    };
    let asking = async {
        use http_body_util::BodyExt as _;
        let response = pool.send(UpstreamRequest::get(url.clone())).await.unwrap();
        response.into_body().collect().await.map(|_| ())
    };
    let ((), answer) = tokio::join!(serving, asking);
    assert!(matches!(answer, Err(UpstreamError::Body(_))), "{answer:?}");
}

#[tokio::test]
async fn idle_connections_are_let_go_before_the_worker_closes_them() {
    let (listener, url, pool) = worker().await;
    let serving = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        request(&mut stream).await;
        stream.write_all(ANSWER).await.unwrap();
        stream
    };
    let (_stream, _) = tokio::join!(serving, asked(&pool, &url));
    tokio::time::pause();
    pool.let_go();
    assert_eq!(pool.idle.lock().len(), 1);
    tokio::time::advance(IDLE_CONNECTION_LIFE).await;
    pool.let_go();
    assert!(pool.idle.lock().is_empty());
}

/// A task that asks several times before anything has come keeps its waker where it is, and another that takes the answer
/// over is woken in its place; so is one that was told to wait because its share of time was over.
#[tokio::test]
async fn who_waits_for_an_answer_is_woken_whoever_waited_before() {
    let (listener, url, pool) = worker().await;
    let worker = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        request(&mut stream).await;
        stream.write_all(BEGUN).await.unwrap();
        stream
    };
    let (response, mut stream) = tokio::join!(pool.send(UpstreamRequest::get(url)), worker);
    let mut body = response.unwrap().into_body();
    let data = std::future::poll_fn(|context| body.poll_data(context)).await;
    assert_eq!(data.unwrap().unwrap(), "ab");
    for round in 0..3 {
        // This task is told to wait, and asks again and again.
        for _ in 0..3 {
            let asked =
                futures_util::poll!(std::future::poll_fn(|context| body.poll_data(context)));
            assert!(asked.is_pending());
        }
        let (waits, waiting) = tokio::sync::oneshot::channel();
        let mut next = tokio::task::JoinSet::new();
        next.spawn(async move {
            if round == 1 {
                while tokio::task::coop::has_budget_remaining() {
                    let spent = tokio::task::coop::consume_budget();
                    assert!(futures_util::poll!(std::pin::pin!(spent)).is_ready());
                }
            }
            let mut waits = Some(waits);
            let data = std::future::poll_fn(|context| {
                let asked = body.poll_data(context);
                if let Some(waits) = waits.take() {
                    assert!(asked.is_pending());
                    waits.send(()).unwrap();
                }
                asked
            });
            (data.await.unwrap().unwrap(), body)
        });
        waiting.await.unwrap();
        tokio::task::yield_now().await;
        stream.write_all(b"1\r\nc\r\n").await.unwrap();
        let next = tokio::time::timeout(Duration::from_secs(10), next.join_next()).await;
        let (data, back) = next.expect("it is woken").unwrap().unwrap();
        assert_eq!(data, "c");
        body = back;
    }
}
