//! The program: read the configuration, run, say what went wrong.

use std::process::ExitCode;

use adaptive_router::config::{Config, Parsed};

fn main() -> ExitCode {
    match Config::from_args(std::env::args_os().skip(1)) {
        Ok(Parsed::Run(config)) => {
            println!("{config:#?}");
            ExitCode::SUCCESS
        }
        Ok(Parsed::Print(text)) => {
            print!("{text}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("adaptive-router: error: {error}");
            ExitCode::from(2)
        }
    }
}
