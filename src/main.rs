//! The program: read the configuration, run, say what went wrong.

use std::io::{self, Write as _};
use std::num::NonZeroUsize;
use std::process::ExitCode;

use adaptive_router::app::{App, StartError};
use adaptive_router::config::{Config, Parsed};
use adaptive_router::{logging, server};
use tokio::runtime::{Builder, Runtime};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

fn main() -> ExitCode {
    match Config::from_args(std::env::args_os().skip(1)) {
        Ok(Parsed::Run(config)) => run(*config),
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

fn run(config: Config) -> ExitCode {
    keep_freed_memory();
    match runtime() {
        Ok(runtime) => runtime.block_on(start(config)),
        Err(error) => failed(&error),
    }
}

/// glibc gives memory back to the system whenever 128 KiB lie free at the end of a heap, which under load is many times a
/// second, and each time the pages that come back are cleared anew. It raises that bound, to twice the size of the largest
/// piece that it ever mapped by itself and freed (`mallopt(3)`, `M_MMAP_THRESHOLD`), as it would at the first prompt of some
/// size: so a piece is freed here, which nobody ever touches. A heap, and there is one a thread, may keep 8 MiB then after
/// a burst. Other allocators don't mind.
fn keep_freed_memory() {
    const LARGEST: usize = 4 << 20;
    drop(std::hint::black_box(Vec::<u8>::with_capacity(LARGEST)));
}

/// A thread for each core that this process may have. With one core there is nobody to share the work with, and no need to
/// be ready for it.
fn runtime() -> io::Result<Runtime> {
    let cores = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
    let mut builder = match cores {
        1 => Builder::new_current_thread(),
        _ => Builder::new_multi_thread(),
    };
    builder.enable_all().build()
}

async fn start(config: Config) -> ExitCode {
    let _flushed_at_the_end = match logging::start(&config.logging) {
        Ok(guard) => guard,
        Err(error) => return failed(&error),
    };
    rustls::crypto::ring::default_provider()
        .install_default()
        .expect("nothing installed one before");
    if !config.ignored.is_empty() {
        tracing::warn!(
            "accepted but without effect here: {}",
            config.ignored.join("; ")
        );
    }
    let files = server::allow_open_files();
    tracing::debug!(files, "open files");
    match serve(config).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => failed(&error),
    }
}

fn failed(error: &dyn std::error::Error) -> ExitCode {
    eprintln!("adaptive-router: error: {error}");
    ExitCode::FAILURE
}

async fn serve(config: Config) -> Result<(), StartError> {
    let app = App::start(config).await?;
    // Before anybody can know that the router is there: a signal that comes early is not lost.
    let signals = Signals::install();
    app.announce();
    let (drain, abort) = (CancellationToken::new(), CancellationToken::new());
    let serving = app.run(drain.clone(), abort.clone());
    tokio::select! {
        () = serving => {}
        () = signals.relay(&drain, &abort) => unreachable!("the signal loop never ends"),
    }
    Ok(())
}

/// What ends the program from outside.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn install() -> Self {
        let handler = |kind| signal(kind).expect("the process may handle its signals");
        Self {
            terminate: handler(SignalKind::terminate()),
            interrupt: handler(SignalKind::interrupt()),
        }
    }

    /// The first signal lets running requests finish, the second ends at once.
    async fn relay(mut self, drain: &CancellationToken, abort: &CancellationToken) {
        loop {
            tokio::select! {
                _ = self.terminate.recv() => {}
                _ = self.interrupt.recv() => {}
            }
            if drain.is_cancelled() {
                abort.cancel();
            } else {
                tracing::info!(
                    "stopping: no new requests, running ones finish; a second signal ends at once"
                );
                drain.cancel();
            }
        }
    }
}
