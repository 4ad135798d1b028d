use super::*;

const NAME: u64 = 0xabcd;

fn event(place: u32) -> String {
    let mut text = String::from("data: {\"choices\":[{\"delta\":{\"content\":\"");
    Stamp::now(NAME, place).push(&mut text);
    text.push_str("\"},\"finish_reason\":null}]}\n\n");
    text
}

const FINISH: &str = "data: {\"choices\":[{\"delta\":{},\"finish_reason\":\"length\"}]}\n\n";
const DONE: &str = "data: [DONE]\n\n";

/// Reads a stream in pieces of a size; tokens and verdict.
fn read(stream: &str, tokens: u32, size: usize) -> (usize, Result<(), Failure>) {
    let mut reading = Reading::new(NAME, tokens);
    let mut seen = 0;
    for piece in stream.as_bytes().chunks(size) {
        let pushed = reading.push(piece, |event| {
            seen += usize::from(matches!(event, Event::Token { .. }));
        });
        if pushed.is_err() {
            return (seen, pushed);
        }
    }
    (seen, reading.check())
}

#[test]
fn a_whole_stream_passes_however_it_is_cut_and_each_flaw_is_named() {
    let (zero, one) = (event(0), event(1));
    let table = [
        (format!("{zero}{one}{FINISH}{DONE}"), Ok(())),
        (format!(": a comment\n\n{zero}{one}{FINISH}{DONE}"), Ok(())),
        (format!("{zero}{one}{FINISH}"), Err(Failure::Incomplete)),
        (format!("{zero}{FINISH}{DONE}"), Err(Failure::Incomplete)),
        (format!("{zero}{one}{DONE}"), Err(Failure::WrongFinish)),
        (
            format!("{one}{zero}{FINISH}{DONE}"),
            Err(Failure::WrongText),
        ),
        (
            format!("{zero}{zero}{FINISH}{DONE}"),
            Err(Failure::WrongText),
        ),
        (
            format!("{zero}{one}{FINISH}{DONE}{DONE}"),
            Err(Failure::Garbled),
        ),
        (
            "data: {\"error\":{\"message\":\"x\"}}\n\n".into(),
            Err(Failure::ErrorEvent),
        ),
        ("event: x\n\n".into(), Err(Failure::Garbled)),
    ];
    for (stream, verdict) in table {
        for size in [1, 7, 64, stream.len()] {
            assert_eq!(
                read(&stream, 2, size).1,
                verdict,
                "in pieces of {size}: {stream}"
            );
        }
    }
}

#[test]
fn the_answer_to_another_prompt_is_wrong() {
    let stream = event(0).replace("000000000000abcd", "000000000000abce");
    assert_eq!(read(&stream, 1, 16).1, Err(Failure::WrongText));
}

#[test]
fn an_answer_that_is_not_streamed_is_checked_to_its_end() {
    let answer = |words: u32, tokens: u32, finish: &str| {
        let mut text = String::from("{\"message\":{\"content\":\"");
        Stamp::now(NAME, 0).push(&mut text);
        text.push_str(&" word".repeat(words as usize));
        text + &format!(
            "\"}},\"finish_reason\":\"{finish}\",\"usage\":{{\"completion_tokens\":{tokens}}}}}"
        )
    };
    let table = [
        (NAME, answer(2, 3, "length"), Ok(())),
        (NAME + 1, answer(2, 3, "length"), Err(Failure::WrongText)),
        (NAME, answer(1, 3, "length"), Err(Failure::Incomplete)),
        (NAME, answer(2, 2, "length"), Err(Failure::WrongUsage)),
        (NAME, answer(2, 3, "stop"), Err(Failure::WrongFinish)),
        (NAME, "{}".into(), Err(Failure::Garbled)),
    ];
    for (name, body, verdict) in table {
        assert_eq!(whole(name, 3, body.as_bytes()), verdict, "{body}");
    }
}
