//! The command lines of the contenders.
//!
//! The routers get the same flags but for what only one of them knows: each logs warnings only, serves its metrics, asks
//! its workers for their loads once a second and for their health once a minute, and limits nothing.

use super::{Certificate, Contender, Kind, Policy, Ports, relay};
use std::{
    ffi::OsString,
    fs, io,
    path::{Path, PathBuf},
};

/// What a contender is started with.
pub struct Setup<'a> {
    pub workers: &'a Ports,
    pub policy: Policy,
    pub port: u16,
    pub metrics_port: u16,
    pub certificate: Option<&'a Certificate>,
    /// Where configuration files go.
    pub folder: &'a Path,
}

/// A contender's arguments; writes the configuration that they name. None where nothing is to be started.
pub fn arguments(contender: Contender, setup: &Setup<'_>) -> io::Result<Vec<OsString>> {
    let flags = match contender {
        Contender::Direct => Vec::new(),
        Contender::AdaptiveRouter | Contender::SglangRouter => router(setup, &[]),
        Contender::Smg => {
            // By itself it lets in 1024 requests a core, and looks on the network for a tokenizer that it doesn't need.
            let own = [
                "--max-concurrent-requests",
                "65536",
                "--disable-tokenizer-autoload",
            ];
            router(setup, &own)
        }
        Contender::Nginx => {
            let file = write(setup, "nginx.conf", &relay::nginx(setup))?;
            let folder = setup.folder.as_os_str().to_owned();
            return Ok(vec![
                "-p".into(),
                folder,
                "-e".into(),
                "stderr".into(),
                "-c".into(),
                file.into(),
            ]);
        }
        Contender::Haproxy => {
            let file = write(setup, "haproxy.cfg", &relay::haproxy(setup))?;
            return Ok(vec!["-db".into(), "-q".into(), "-f".into(), file.into()]);
        }
    };
    let first = match contender {
        Contender::SglangRouter | Contender::Smg => vec!["launch".to_owned()],
        Contender::Direct | Contender::AdaptiveRouter | Contender::Nginx | Contender::Haproxy => {
            Vec::new()
        }
    };
    Ok(first.into_iter().chain(flags).map(Into::into).collect())
}

fn write(setup: &Setup<'_>, name: &str, text: &str) -> io::Result<PathBuf> {
    let file = setup.folder.join(name);
    fs::write(&file, text)?;
    Ok(file)
}

fn router(setup: &Setup<'_>, own: &[&str]) -> Vec<String> {
    let mut flags = vec!["--pd-disaggregation".to_owned()];
    for &(port, bootstrap_port) in &setup.workers.prefill {
        flags.extend([
            "--prefill".into(),
            format!("http://127.0.0.1:{port}"),
            bootstrap_port.to_string(),
        ]);
    }
    for port in &setup.workers.decode {
        flags.extend(["--decode".into(), format!("http://127.0.0.1:{port}")]);
    }
    let (port, metrics_port) = (setup.port.to_string(), setup.metrics_port.to_string());
    flags.extend(
        [
            "--host",
            "127.0.0.1",
            "--port",
            &port,
            "--prometheus-host",
            "127.0.0.1",
            "--prometheus-port",
            &metrics_port,
            "--policy",
            setup.policy.as_str(),
            "--worker-startup-check-interval",
            "1",
            "--log-level",
            "warn",
        ]
        .map(str::to_owned),
    );
    if let Some(certificate) = setup.certificate {
        flags.extend([
            "--tls-cert-path".into(),
            certificate.chain.display().to_string(),
            "--tls-key-path".into(),
            certificate.key.display().to_string(),
        ]);
    }
    flags.extend(own.iter().map(|&flag| flag.to_owned()));
    flags
}

impl Contender {
    /// Workers that it has to know before it is measured.
    pub fn registers(self, workers: &Ports) -> usize {
        match self.kind() {
            Kind::Pairs => workers.prefill.len() + workers.decode.len(),
            Kind::Nobody | Kind::Relay => 0,
        }
    }
}
