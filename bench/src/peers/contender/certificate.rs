//! A certificate for 127.0.0.1, made with `openssl` for the run, and a client that believes it alone.

use rustls::{
    ClientConfig, RootCertStore,
    crypto::ring,
    pki_types::{CertificateDer, pem::PemObject},
};
use std::{
    fmt, fs, io,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::Arc,
};

/// Not an authority: a client refuses one that serves.
const REQUEST: &str = "[req]
distinguished_name = name
x509_extensions = extensions
prompt = no
[name]
CN = 127.0.0.1
[extensions]
basicConstraints = critical, CA:FALSE
subjectAltName = IP:127.0.0.1
";

/// A certificate and its key as files.
pub struct Certificate {
    pub chain: PathBuf,
    pub key: PathBuf,
    /// Both in one file, as HAProxy wants them.
    pub both: PathBuf,
    pub client: Arc<ClientConfig>,
}

/// Why there is none.
#[derive(Debug)]
pub enum CertificateError {
    NoOpenssl(io::Error),
    OpensslFailed,
    Files(io::Error),
    Unreadable(String),
}

impl fmt::Display for CertificateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoOpenssl(error) => write!(
                f,
                "cannot run openssl, which makes the certificate (Debian: apt install openssl): {error}"
            ),
            Self::OpensslFailed => f.write_str("openssl made no certificate"),
            Self::Files(error) => write!(f, "cannot keep the certificate: {error}"),
            Self::Unreadable(error) => write!(f, "cannot read the certificate: {error}"),
        }
    }
}

impl std::error::Error for CertificateError {}

impl Certificate {
    /// Makes one in a folder.
    pub fn make(folder: &Path) -> Result<Self, CertificateError> {
        let file = |name| folder.join(name);
        let (request, chain, key, both) = (
            file("certificate.cnf"),
            file("certificate.pem"),
            file("key.pem"),
            file("both.pem"),
        );
        fs::write(&request, REQUEST).map_err(CertificateError::Files)?;
        let made = Command::new("openssl")
            .args(["req", "-x509", "-nodes", "-days", "30"])
            .args(["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"])
            .arg("-config")
            .arg(&request)
            .arg("-keyout")
            .arg(&key)
            .arg("-out")
            .arg(&chain)
            .stderr(Stdio::null())
            .status()
            .map_err(CertificateError::NoOpenssl)?;
        if !made.success() {
            return Err(CertificateError::OpensslFailed);
        }
        let read = |path| fs::read(path).map_err(CertificateError::Files);
        let joined = [read(&chain)?, read(&key)?].concat();
        fs::write(&both, joined).map_err(CertificateError::Files)?;
        let client = client(&chain)?;
        Ok(Self {
            chain,
            key,
            both,
            client: Arc::new(client),
        })
    }
}

fn client(chain: &Path) -> Result<ClientConfig, CertificateError> {
    let unreadable = |error: &dyn fmt::Display| CertificateError::Unreadable(error.to_string());
    let certificate = CertificateDer::from_pem_file(chain).map_err(|error| unreadable(&error))?;
    let mut roots = RootCertStore::empty();
    roots.add(certificate).map_err(|error| unreadable(&error))?;
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| unreadable(&error))?;
    Ok(config.with_root_certificates(roots).with_no_client_auth())
}
