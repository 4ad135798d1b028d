//! Values of flags.

use serde_json::{Map, Value};
use std::time::Duration;

/// The longest prompt or answer, in tokens: above any context window, and a sum of two is far from overflowing.
pub(super) const LONGEST: i64 = 100_000_000;

/// A bound that a good request keeps.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Bound {
    Ttft(Duration),
    Tpot(Duration),
    E2el(Duration),
}

pub(super) fn bound(text: &str) -> Result<Bound, String> {
    let wrong = || "expected ttft, tpot or e2el with milliseconds, such as ttft:2000".to_owned();
    let (metric, ms) = text.split_once(':').ok_or_else(wrong)?;
    let ms: f64 = ms.parse().map_err(|_| wrong())?;
    let most = Duration::try_from_secs_f64(ms / 1e3).map_err(|_| wrong())?;
    match metric {
        "ttft" => Ok(Bound::Ttft(most)),
        "tpot" => Ok(Bound::Tpot(most)),
        "e2el" => Ok(Bound::E2el(most)),
        _ => Err(wrong()),
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Pair {
    pub(super) key: String,
    pub(super) value: String,
}

pub(super) fn pair(text: &str) -> Result<Pair, String> {
    let (key, value) = text
        .split_once('=')
        .ok_or_else(|| "expected KEY=VALUE".to_owned())?;
    Ok(Pair {
        key: key.trim().to_owned(),
        value: value.trim().to_owned(),
    })
}

/// Above 0, or inf.
pub(super) fn rate(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(rate) if rate > 0.0 => Ok(rate),
        Ok(_) | Err(_) => Err("expected a number above 0, or inf".to_owned()),
    }
}

/// Above 0 and finite.
pub(super) fn factor(text: &str) -> Result<f64, String> {
    rate(text)
        .ok()
        .filter(|factor| factor.is_finite())
        .ok_or_else(|| "expected a number above 0".to_owned())
}

pub(super) fn ratio(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(ratio) if (0.0..=1.0).contains(&ratio) => Ok(ratio),
        Ok(_) | Err(_) => Err("expected a number of 0 to 1".to_owned()),
    }
}

pub(super) fn percent(text: &str) -> Result<f64, String> {
    match text.trim().parse::<f64>() {
        Ok(percent) if (0.0..=100.0).contains(&percent) => Ok(percent),
        Ok(_) | Err(_) => Err("expected percentiles of 0 to 100, such as 50,90,99".to_owned()),
    }
}

/// `None` where the server chooses.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Temperature(pub(super) Option<f64>);

pub(super) fn temperature(text: &str) -> Result<Temperature, String> {
    match (text, text.parse::<f64>()) {
        ("server", _) => Ok(Temperature(None)),
        (_, Ok(degree)) if (0.0..=100.0).contains(&degree) => Ok(Temperature(Some(degree))),
        (_, Ok(_) | Err(_)) => Err("expected a number of 0 or more, or server".to_owned()),
    }
}

pub(super) fn object(text: &str) -> Result<Map<String, Value>, String> {
    serde_json::from_str(text)
        .map_err(|error| format!("expected a JSON object, such as '{{\"top_k\": 1}}': {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_are_read_and_others_refused_with_an_example() {
        let ms = Duration::from_millis;
        let table = [
            ("ttft:2000", Some(Bound::Ttft(ms(2_000)))),
            ("tpot:25", Some(Bound::Tpot(ms(25)))),
            ("e2el:0.5", Some(Bound::E2el(Duration::from_micros(500)))),
            ("itl:25", None),
            ("ttft", None),
            ("ttft:-1", None),
            ("ttft:inf", None),
            ("ttft:fast", None),
        ];
        for (text, expected) in table {
            let found = bound(text);
            if let Err(error) = &found {
                assert!(error.contains("ttft:2000"), "{error}");
            }
            assert_eq!(found.ok(), expected, "{text}");
        }
    }

    #[test]
    fn numbers_out_of_range_are_refused() {
        assert!(rate("inf").is_ok_and(f64::is_infinite) && rate("0.5").is_ok());
        for wrong in ["0", "-1", "nan", "many"] {
            assert!(rate(wrong).is_err(), "{wrong}");
        }
        assert!(factor("inf").is_err() && factor("2").is_ok());
        assert!(ratio("1").is_ok() && ratio("1.1").is_err());
        assert!(percent("99.9").is_ok() && percent("101").is_err());
        assert_eq!(temperature("server"), Ok(Temperature(None)));
        assert!(temperature("-1").is_err());
        assert!(object("[1]").is_err() && object("{\"a\": 1}").is_ok());
        assert!(pair("a").is_err());
    }
}
