//! The program: read the configuration, run, say what went wrong.

use std::io::Write;
use std::process::ExitCode;

use adaptive_router::config::{Config, Parsed};

fn main() -> ExitCode {
    match Config::from_args(std::env::args_os().skip(1)) {
        Ok(Parsed::Run(config)) => {
            println!("{config:#?}");
            ExitCode::SUCCESS
        }
        Ok(Parsed::Print(text)) => {
            // Whoever reads it may stop reading (`--help | head`): not an error of this program.
            let _ = std::io::stdout().write_all(text.as_bytes());
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("adaptive-router: error: {error}");
            ExitCode::from(2)
        }
    }
}
