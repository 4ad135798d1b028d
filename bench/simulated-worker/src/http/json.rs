//! JSON written by hand.
//!
//! A stream writes one event a token; building a tree of values for each would cost more than everything else that
//! the worker does.

use std::fmt::{Arguments, Write as _};

/// Appends formatted text.
macro_rules! put {
    ($out:expr, $($arg:tt)*) => {
        $crate::http::json::append($out, format_args!($($arg)*))
    };
}
pub(crate) use put;

pub(crate) fn append(out: &mut String, text: Arguments<'_>) {
    // Writing to a String can't fail.
    let _ = out.write_fmt(text);
}

/// Appends text as it stands inside a JSON string.
pub(crate) fn escape(out: &mut String, text: &str) {
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if u32::from(c) < 0x20 => put!(out, "\\u{:04x}", u32::from(c)),
            c => out.push(c),
        }
    }
}

/// A text as a JSON string.
pub(crate) fn quote(out: &mut String, text: &str) {
    out.push('"');
    escape(out, text);
    out.push('"');
}

/// Items between brackets, separated by commas.
pub(crate) fn list<T>(
    out: &mut String,
    items: impl IntoIterator<Item = T>,
    mut item: impl FnMut(&mut String, T),
) {
    out.push('[');
    for (index, value) in items.into_iter().enumerate() {
        if index > 0 {
            out.push(',');
        }
        item(out, value);
    }
    out.push(']');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escaped_text_parses_to_itself() {
        let text = "a\"b\\c\n\r\t\u{1}é🦀";
        let mut json = String::new();
        quote(&mut json, text);
        assert_eq!(serde_json::from_str::<String>(&json).unwrap(), text);
    }
}
