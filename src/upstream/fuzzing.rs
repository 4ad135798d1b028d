//! What must hold for any bytes that a worker sends, as functions of those bytes.
//!
//! The fuzz targets of `fuzz/` call these, and so does a test with every file of their corpora; they stand here because
//! what they look at is private. Each panics where its property does not hold.

use http::{HeaderMap, HeaderValue, StatusCode};

use super::http1::{Framing, Head, Malformed};

/// An answer's head is the same however many bytes follow it, and no part of one is taken for a whole.
pub fn head(bytes: &[u8]) {
    let parsed = Head::parse(bytes);
    let Ok(Some(head)) = parsed else { return };
    assert!(head.length <= bytes.len());
    let again = Head::parse(&bytes[..head.length]);
    let Ok(Some(again)) = again else {
        panic!("the head alone is not whole");
    };
    assert_eq!(again.length, head.length);
    assert_eq!(again.framing, head.framing);
    assert_eq!(again.response.status(), head.response.status());
    assert!(!head.response.status().is_informational());
    // Every prefix, where there are few: a worker's head has some hundred bytes.
    for end in 0..head.length.min(512) {
        assert!(
            !matches!(Head::parse(&bytes[..end]), Ok(Some(_))),
            "{end} of {} bytes are taken for the head",
            head.length
        );
    }
}

/// A chunked body is the same however it is cut into reads. The first byte is the length of the reads.
pub fn chunked(bytes: &[u8]) {
    let Some((&length, body)) = bytes.split_first() else {
        return;
    };
    let whole = decoded(body, body.len().max(1));
    assert_eq!(whole, decoded(body, usize::from(length).max(1)));
}

/// The data, how many bytes the answer took, and how it ended.
fn decoded(bytes: &[u8], read: usize) -> (Vec<u8>, usize, Result<bool, Malformed>) {
    let coding = HeaderValue::from_static("chunked");
    let headers = HeaderMap::from_iter([(http::header::TRANSFER_ENCODING, coding)]);
    let mut framing = Framing::of(StatusCode::OK, &headers).expect("a good header");
    let (mut data, mut taken) = (Vec::new(), 0);
    for piece in bytes.chunks(read) {
        let mut piece = piece.to_vec();
        match framing.decode(&mut piece) {
            Ok(here) => {
                assert!(here.data <= here.taken && here.taken <= piece.len());
                assert!(here.taken == piece.len() || framing.is_done());
                data.extend_from_slice(&piece[..here.data]);
                taken += here.taken;
            }
            // How much of a bad body was understood depends on how it was cut, and nobody uses it.
            Err(malformed) => return (Vec::new(), 0, Err(malformed)),
        }
        if framing.is_done() {
            break;
        }
    }
    (data, taken, Ok(framing.is_done()))
}
