//! Model files: a deployment's parameters as TOML, each with its unit in its name and its origin beside it.
//!
//! Text in and text out; who reads and writes files is the caller. A key that is not known is refused, as is one that
//! is missing: a model that is half someone else's predicts for no worker. Two may be absent, and are nothing then: the
//! warm-up and the disturbance by arrivals, which not every deployment shows.

use std::fmt::{self, Write};
use std::ops::RangeInclusive;

use toml::{Table, Value};

use super::{Parameter, WorkerModel};

/// Why a text is no model.
#[derive(Debug, Clone, PartialEq)]
pub enum ModelFileError {
    /// Not TOML; the parser's own words, with the line.
    Syntax(String),
    /// A table or a key that no model has.
    Unknown(String),
    Missing(Parameter),
    NotANumber(Parameter),
    Range {
        parameter: Parameter,
        expected: RangeInclusive<f64>,
        found: f64,
    },
}

impl fmt::Display for ModelFileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Syntax(error) => f.write_str(error.trim_end()),
            Self::Unknown(key) => {
                write!(f, "{key}: not a parameter of a worker's model; remove it")
            }
            Self::Missing(parameter) => write!(f, "{}: missing", dotted(*parameter)),
            Self::NotANumber(parameter) => write!(f, "{}: expected a number", dotted(*parameter)),
            Self::Range {
                parameter,
                expected,
                found,
            } => write!(
                f,
                "{}: expected {} to {}, found {found}",
                dotted(*parameter),
                expected.start(),
                expected.end()
            ),
        }
    }
}

impl std::error::Error for ModelFileError {}

fn dotted(parameter: Parameter) -> String {
    let (table, key) = parameter.key();
    format!("{table}.{key}")
}

impl WorkerModel {
    /// Reads a model file.
    pub fn from_toml(text: &str) -> Result<Self, ModelFileError> {
        let file: Table = text
            .parse()
            .map_err(|error: toml::de::Error| ModelFileError::Syntax(error.to_string()))?;
        refuse_unknown(&file)?;
        let mut model = Self::default();
        for parameter in Parameter::ALL {
            let value = read(&file, parameter)?;
            parameter.set(&mut model, value / parameter.units_in_one());
        }
        Ok(model)
    }

    /// Writes a model file: `heading` as a comment, and each parameter with its meaning and what `origin` says of it.
    pub fn to_toml(&self, heading: &str, origin: impl Fn(Parameter) -> String) -> String {
        let mut text = String::new();
        for line in heading.lines() {
            let _ = writeln!(text, "{}", format!("# {line}").trim_end());
        }
        let mut table = "";
        for parameter in Parameter::ALL {
            let (its_table, key) = parameter.key();
            if its_table != table {
                table = its_table;
                let _ = write!(text, "\n[{table}]");
            }
            let value = six_digits(parameter.in_unit(self));
            let (meaning, origin) = (parameter.meaning(), origin(parameter));
            let _ = write!(text, "\n# {meaning} {origin}\n{key} = {value}\n");
        }
        text
    }
}

fn refuse_unknown(file: &Table) -> Result<(), ModelFileError> {
    for (table, keys) in file {
        let of_table = || Parameter::ALL.iter().map(|one| one.key());
        let Value::Table(keys) = keys else {
            return Err(ModelFileError::Unknown(table.clone()));
        };
        if !of_table().any(|(known, _)| known == table) {
            return Err(ModelFileError::Unknown(table.clone()));
        }
        if let Some(key) = keys
            .keys()
            .find(|key| !of_table().any(|known| known == (table.as_str(), key.as_str())))
        {
            return Err(ModelFileError::Unknown(format!("{table}.{key}")));
        }
    }
    Ok(())
}

/// In the file's unit.
fn read(file: &Table, parameter: Parameter) -> Result<f64, ModelFileError> {
    let (table, key) = parameter.key();
    let found = match file.get(table).and_then(|table| table.get(key)) {
        Some(Value::Float(found)) => *found,
        Some(Value::Integer(found)) => *found as f64,
        Some(_) => return Err(ModelFileError::NotANumber(parameter)),
        None if is_optional(parameter) => 0.0,
        None => return Err(ModelFileError::Missing(parameter)),
    };
    let expected = range(parameter);
    if expected.contains(&found) {
        Ok(found)
    } else {
        Err(ModelFileError::Range {
            parameter,
            expected,
            found,
        })
    }
}

fn is_optional(parameter: Parameter) -> bool {
    matches!(
        parameter,
        Parameter::WarmUpPerRequest | Parameter::ArrivalPerToken
    )
}

/// In the file's unit. The upper ends are far beyond any worker; they keep a slip of the unit from being believed.
fn range(parameter: Parameter) -> RangeInclusive<f64> {
    match parameter {
        Parameter::BatchBase
        | Parameter::TransferBase
        | Parameter::WarmUpPerRequest
        | Parameter::StepBase => 0.0..=60_000.0,
        Parameter::PerToken
        | Parameter::TransferPerToken
        | Parameter::PerSequence
        | Parameter::PerKvToken
        | Parameter::ArrivalPerToken => 0.0..=1e6,
        Parameter::CachedCost => 0.0..=1.0,
        Parameter::MaxBatchTokens | Parameter::MaxRunning => 1.0..=1e9,
        Parameter::KvPoolTokens => 1.0..=1e12,
    }
}

/// More digits than any measurement has, and fewer than a conversion of units makes.
fn six_digits(value: f64) -> f64 {
    if value == 0.0 || !value.is_finite() || value >= 1e6 {
        return value;
    }
    let place = 10_f64.powi(5 - value.abs().log10().floor() as i32);
    (value * place).round() / place
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(model: &WorkerModel) -> String {
        model.to_toml("A worker.\n\nNobody's.", |_| "Assumed.".to_owned())
    }

    #[test]
    fn what_is_written_is_read_back_to_six_digits() {
        let mut model = WorkerModel::default();
        for (parameter, factor) in Parameter::ALL.into_iter().zip(1..) {
            let value = parameter.get(&model) / (1.0 + f64::from(factor) / 17.0);
            parameter.set(&mut model, value);
        }
        let read = WorkerModel::from_toml(&written(&model)).unwrap();
        for parameter in Parameter::ALL {
            let (read, wrote) = (parameter.get(&read), parameter.get(&model));
            assert!(
                (read - wrote).abs() <= 1e-5 * wrote,
                "{parameter:?}: {read} {wrote}"
            );
        }
    }

    #[test]
    fn every_parameter_is_written_under_its_meaning_and_origin() {
        let text = written(&WorkerModel::default());
        assert!(
            text.starts_with("# A worker.\n#\n# Nobody's.\n\n[prefill]\n"),
            "{text}"
        );
        for parameter in Parameter::ALL {
            let lines = format!(
                "# {} Assumed.\n{} = ",
                parameter.meaning(),
                parameter.key().1
            );
            assert!(text.contains(&lines), "{lines}");
        }
    }

    #[test]
    fn what_is_wrong_is_said_by_its_key() {
        let text = written(&WorkerModel::default());
        let without = |key: &str| {
            let lines = text.lines().filter(|line| !line.starts_with(key));
            lines.collect::<Vec<_>>().join("\n")
        };
        let table = [
            (without("step_base_ms"), "decode.step_base_ms: missing"),
            (
                text.replace("max_running", "max_runing"),
                "decode.max_runing: not",
            ),
            (text.replace("[decode]", "[decoding]"), "decoding: not"),
            (
                format!("{}\nstep_base_ms = \"6\"", without("step_base_ms")),
                "decode.step_base_ms: expected a number",
            ),
            (
                format!("{}\nstep_base_ms = -6", without("step_base_ms")),
                "decode.step_base_ms: expected 0 to 60000, found -6",
            ),
            (
                format!("{}\nmax_running = 0", without("max_running")),
                "decode.max_running: expected 1",
            ),
            (
                format!("{}\nstep_base_ms = nan", without("step_base_ms")),
                "found NaN",
            ),
            ("[prefill".to_owned(), "line 1"),
        ];
        for (text, expected) in table {
            let error = WorkerModel::from_toml(&text).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
    }

    #[test]
    fn what_a_deployment_does_not_show_may_be_absent() {
        let text = written(&WorkerModel::default());
        let lines = text.lines().filter(|line| {
            !line.starts_with("warm_up_per_request") && !line.starts_with("arrival_per_token")
        });
        let model = WorkerModel::from_toml(&lines.collect::<Vec<_>>().join("\n")).unwrap();
        assert!(model.prefill.warm_up_per_request + model.decode.arrival_per_token <= 0.0);
    }
}
