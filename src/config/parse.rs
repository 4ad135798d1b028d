//! Value parsers: from the text of one value to its type, with a reason when it doesn't fit.
//!
//! The command line's parser calls them and adds which value of which flag it was.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use clap::builder::{BoolValueParser, TypedValueParser};
use url::Url;

use super::admission::Limit;
use super::auth::{ControlPlaneKey, ControlPlaneRole};

/// Why a value doesn't fit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum BadValue {
    NotANumber,
    /// With the range that the type has.
    NotWhole(&'static str),
    NotPositive,
    TooLong,
    NotAShare,
    NotAFactor,
    NoScheme,
    Grpc,
    NotHttp,
    NotAUrl,
    MoreThanAUrl,
    NotABootstrapPort,
    NotAHost,
    NotAHeader,
    NotAnOrigin,
    NotAPath,
    NotAControlPlaneKey,
    NotARole,
    NotARoleMapping,
    NotACollector,
}

impl fmt::Display for BadValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotWhole(range) => return write!(f, "expected a whole number, {range}"),
            Self::NotANumber => "expected a number, 0 or more",
            Self::NotPositive => "must be more than 0",
            Self::TooLong => "must be at most 1000000000 seconds",
            Self::NotAShare => "must be from 0 to 1",
            Self::NotAFactor => "must be 1 or more",
            Self::NoScheme => "a worker URL starts with http:// or https://",
            Self::Grpc => "gRPC workers are not supported, use their http:// address",
            Self::NotHttp => "only http:// and https:// workers are supported",
            Self::NotAUrl => "not a valid URL",
            Self::MoreThanAUrl => "a worker URL has no query, fragment or user",
            Self::NotABootstrapPort => "a bootstrap port is a number from 1 to 65535, or none",
            Self::NotAHost => "expected an address or a host name, without a port",
            Self::NotAHeader => "not a valid header name",
            Self::NotAnOrigin => "expected an origin like https://example.com, or *",
            Self::NotAPath => "a path starts with /",
            Self::NotAControlPlaneKey => "expected id:name:role:key",
            Self::NotARole => "the role must be admin or user",
            Self::NotACollector => {
                "expected the address of a collector, HOST:PORT or a URL with http:// or https:// and no user"
            }
            Self::NotARoleMapping => "expected their-role=admin or their-role=user",
        })
    }
}

impl std::error::Error for BadValue {}

/// About thirty years: for ever in practice, and small enough to be added to any clock without overflow.
const LONGEST: Duration = Duration::from_secs(1_000_000_000);

pub(super) fn seconds(text: &str) -> Result<Duration, BadValue> {
    let seconds = number(text)?;
    if seconds > LONGEST.as_secs_f64() {
        return Err(BadValue::TooLong);
    }
    Ok(Duration::from_secs_f64(seconds))
}

pub(super) fn positive_seconds(text: &str) -> Result<Duration, BadValue> {
    positive(seconds(text)?)
}

pub(super) fn millis(text: &str) -> Result<Duration, BadValue> {
    let duration = Duration::from_millis(whole(text)?);
    if duration > LONGEST {
        return Err(BadValue::TooLong);
    }
    Ok(duration)
}

pub(super) fn positive_millis(text: &str) -> Result<Duration, BadValue> {
    positive(millis(text)?)
}

/// How a default that is a `Duration` stands in the help.
pub(super) fn seconds_text(duration: Duration) -> String {
    duration.as_secs_f64().to_string()
}

fn positive(duration: Duration) -> Result<Duration, BadValue> {
    if duration.is_zero() {
        return Err(BadValue::NotPositive);
    }
    Ok(duration)
}

/// Finite, not negative.
pub(super) fn number(text: &str) -> Result<f64, BadValue> {
    match text.parse::<f64>() {
        Ok(number) if number.is_finite() && number >= 0.0 => Ok(number),
        Ok(_) | Err(_) => Err(BadValue::NotANumber),
    }
}

pub(super) fn positive_number(text: &str) -> Result<f64, BadValue> {
    let number = number(text)?;
    if number > 0.0 {
        Ok(number)
    } else {
        Err(BadValue::NotPositive)
    }
}

pub(super) fn share(text: &str) -> Result<f64, BadValue> {
    let number = number(text)?;
    if number <= 1.0 {
        Ok(number)
    } else {
        Err(BadValue::NotAShare)
    }
}

pub(super) fn share_f32(text: &str) -> Result<f32, BadValue> {
    share(text).map(|number| number as f32)
}

pub(super) fn factor(text: &str) -> Result<f64, BadValue> {
    let number = number(text)?;
    if number >= 1.0 {
        Ok(number)
    } else {
        Err(BadValue::NotAFactor)
    }
}

pub(super) fn factor_f32(text: &str) -> Result<f32, BadValue> {
    factor(text).map(|number| number as f32)
}

/// Says in its message how far the type reaches: "invalid digit found in string" helps nobody.
pub(super) fn whole<T: Whole>(text: &str) -> Result<T, BadValue> {
    text.parse().map_err(|_| BadValue::NotWhole(T::RANGE))
}

/// 1 or more.
pub(super) fn count(text: &str) -> Result<u32, BadValue> {
    positive_whole(text)
}

pub(super) fn positive_size(text: &str) -> Result<usize, BadValue> {
    positive_whole(text)
}

fn positive_whole<T: FromStr + Default + PartialEq>(text: &str) -> Result<T, BadValue> {
    match text.parse() {
        Ok(number) if number != T::default() => Ok(number),
        Ok(_) | Err(_) => Err(BadValue::NotWhole("1 or more")),
    }
}

/// The whole numbers that settings are made of.
pub(super) trait Whole: FromStr {
    const RANGE: &'static str;
}

impl Whole for u16 {
    const RANGE: &'static str = "from 0 to 65535";
}

impl Whole for u64 {
    const RANGE: &'static str = "0 or more";
}

impl Whole for usize {
    const RANGE: &'static str = "0 or more";
}

impl Whole for i64 {
    const RANGE: &'static str = "positive or negative";
}

/// -1 is no limit; so are 0 and the other negative numbers, which `sglang_router` reads that way too.
pub(super) fn limit(text: &str) -> Result<Limit, BadValue> {
    let number: i64 = text
        .parse()
        .map_err(|_| BadValue::NotWhole("-1 for no limit"))?;
    Ok(usize::try_from(number).ok().filter(|limit| *limit > 0))
}

/// For flags that switch off what their setting has on.
pub(super) fn off_switch() -> impl TypedValueParser<Value = bool> {
    BoolValueParser::new().map(|off| !off)
}

/// A worker's address as written, less a trailing slash: decode workers know a prefill worker by this spelling.
pub(super) fn worker_url(text: &str) -> Result<String, BadValue> {
    let Some((scheme, _)) = text.split_once("://") else {
        return Err(BadValue::NoScheme);
    };
    match scheme.to_ascii_lowercase().as_str() {
        "http" | "https" => {}
        "grpc" | "grpcs" => return Err(BadValue::Grpc),
        _ => return Err(BadValue::NotHttp),
    }
    let url = Url::parse(text).map_err(|_| BadValue::NotAUrl)?;
    let bare = url.query().is_none() && url.fragment().is_none() && url.username().is_empty();
    if !bare || url.password().is_some() {
        return Err(BadValue::MoreThanAUrl);
    }
    Ok(text.trim_end_matches('/').to_owned())
}

pub(super) fn bootstrap_port(text: &str) -> Result<Option<u16>, BadValue> {
    if text.eq_ignore_ascii_case("none") {
        return Ok(None);
    }
    match text.parse() {
        Ok(0) | Err(_) => Err(BadValue::NotABootstrapPort),
        Ok(port) => Ok(Some(port)),
    }
}

/// With or without the brackets that IPv6 needs in a URL; they are not kept.
pub(super) fn listen_host(text: &str) -> Result<String, BadValue> {
    let bare = text
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'))
        .unwrap_or(text);
    let is_address = bare.parse::<std::net::IpAddr>().is_ok();
    let is_name = !bare.is_empty() && !bare.contains([':', '/', ' ', '[', ']']);
    if is_address || is_name {
        Ok(bare.to_owned())
    } else {
        Err(BadValue::NotAHost)
    }
}

pub(super) fn header_name(text: &str) -> Result<String, BadValue> {
    text.parse::<http::HeaderName>()
        .map(|name| name.as_str().to_owned())
        .map_err(|_| BadValue::NotAHeader)
}

pub(super) fn origin(text: &str) -> Result<String, BadValue> {
    if text == "*" || text == "null" {
        return Ok(text.to_owned());
    }
    let text = text.trim_end_matches('/');
    let url = Url::parse(text).map_err(|_| BadValue::NotAnOrigin)?;
    if text.contains("://") && url.has_host() && url.origin().ascii_serialization() == text {
        return Ok(text.to_owned());
    }
    Err(BadValue::NotAnOrigin)
}

pub(super) fn path(text: &str) -> Result<String, BadValue> {
    if text.starts_with('/') && text.parse::<http::uri::PathAndQuery>().is_ok() {
        Ok(text.to_owned())
    } else {
        Err(BadValue::NotAPath)
    }
}

pub(super) fn control_plane_key(text: &str) -> Result<ControlPlaneKey, BadValue> {
    let mut parts = text.splitn(4, ':').filter(|part| !part.is_empty());
    let (Some(id), Some(name), Some(role), Some(key)) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err(BadValue::NotAControlPlaneKey);
    };
    Ok(ControlPlaneKey {
        id: id.to_owned(),
        name: name.to_owned(),
        role: role_named(role).ok_or(BadValue::NotARole)?,
        key: key.to_owned(),
    })
}

pub(super) fn jwt_role_mapping(text: &str) -> Result<String, BadValue> {
    match text.split_once('=') {
        Some((_, role)) if role_named(role).is_some() => Ok(text.to_owned()),
        Some(_) | None => Err(BadValue::NotARoleMapping),
    }
}

fn role_named(text: &str) -> Option<ControlPlaneRole> {
    match text.to_ascii_lowercase().as_str() {
        "admin" => Some(ControlPlaneRole::Admin),
        "user" => Some(ControlPlaneRole::User),
        _ => None,
    }
}
