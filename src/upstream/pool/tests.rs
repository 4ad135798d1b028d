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
