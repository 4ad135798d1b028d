//! The contenders' programs: ours is given, the peers' are installed from PyPI where they aren't yet, relays are found.

use super::Contender;
use std::{
    collections::BTreeMap,
    env, fmt, io,
    path::{Path, PathBuf},
    process::{Command, Output},
};

/// A package of PyPI whose script is the router.
struct Package {
    name: &'static str,
    version: &'static str,
}

const SGLANG_ROUTER: Package = Package {
    name: "sglang-router",
    version: "0.3.2",
};
const SMG: Package = Package {
    name: "smg",
    version: "1.13.0",
};

/// What there is to start.
#[derive(Debug, Default)]
pub struct Programs {
    pub paths: BTreeMap<Contender, PathBuf>,
    pub versions: BTreeMap<Contender, String>,
    /// Contenders that can't be measured here, and what to do about it.
    pub skipped: BTreeMap<Contender, String>,
}

/// Why a contender can't be had.
#[derive(Debug)]
pub enum ProgramError {
    NotRun { command: String, error: io::Error },
    Failed { command: String, said: String },
    NoRouter(PathBuf),
}

impl fmt::Display for ProgramError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotRun { command, error } => write!(f, "cannot run {command}: {error}"),
            Self::Failed { command, said } => write!(
                f,
                "{command} failed (a first run needs PyPI; later ones take what --cache has): {said}"
            ),
            Self::NoRouter(path) => write!(
                f,
                "there is no {}: build it with cargo build --release, or name it with --router",
                path.display()
            ),
        }
    }
}

impl std::error::Error for ProgramError {}

impl Programs {
    /// Finds and installs what the contenders need.
    pub fn of(contenders: &[Contender], router: &Path, cache: &Path) -> Result<Self, ProgramError> {
        let mut programs = Self::default();
        for &contender in contenders {
            let path = match contender {
                Contender::Direct => continue,
                Contender::AdaptiveRouter => ours(router)?,
                Contender::SglangRouter => SGLANG_ROUTER.installed(cache)?,
                Contender::Smg => SMG.installed(cache)?,
                Contender::Nginx | Contender::Haproxy => {
                    let Some(path) = on_path(contender.as_str()) else {
                        let hint = format!("not installed (Debian: apt install {contender})");
                        programs.skipped.insert(contender, hint);
                        continue;
                    };
                    path
                }
            };
            programs
                .versions
                .insert(contender, version(contender, &path)?);
            programs.paths.insert(contender, path);
        }
        Ok(programs)
    }
}

fn ours(router: &Path) -> Result<PathBuf, ProgramError> {
    if router.is_file() {
        Ok(router.into())
    } else {
        Err(ProgramError::NoRouter(router.into()))
    }
}

fn on_path(name: &str) -> Option<PathBuf> {
    // Debian keeps servers where an ordinary user's PATH doesn't look.
    let path = env::var_os("PATH").unwrap_or_default();
    let usual = ["/usr/sbin", "/usr/local/sbin"].map(PathBuf::from);
    env::split_paths(&path)
        .chain(usual)
        .map(|folder| folder.join(name))
        .find(|file| file.is_file())
}

impl Package {
    /// The script in a virtual environment of its own; a whole one is used again.
    fn installed(&self, cache: &Path) -> Result<PathBuf, ProgramError> {
        let environment = cache.join(format!("{}-{}", self.name, self.version));
        let script = environment.join("bin").join(self.name);
        if script.is_file() {
            return Ok(script);
        }
        eprintln!("installing {} {}", self.name, self.version);
        run(Command::new("python3")
            .args(["-m", "venv"])
            .arg(&environment))?;
        let package = format!("{}=={}", self.name, self.version);
        run(Command::new(environment.join("bin/pip")).args(["install", "--quiet", &package]))?;
        Ok(script)
    }
}

fn version(contender: Contender, path: &Path) -> Result<String, ProgramError> {
    let says = |flag| {
        let output = run(Command::new(path).arg(flag))?;
        // nginx says it on standard error.
        let text = [output.stdout, output.stderr].concat();
        let text = String::from_utf8_lossy(&text);
        let line = text.lines().next().unwrap_or_default();
        Ok(line.trim().to_owned())
    };
    Ok(match contender {
        Contender::Direct => String::new(),
        Contender::AdaptiveRouter => says("--version")?,
        Contender::SglangRouter => SGLANG_ROUTER.version.into(),
        Contender::Smg => SMG.version.into(),
        Contender::Nginx | Contender::Haproxy => says("-v")?,
    })
}

fn run(command: &mut Command) -> Result<Output, ProgramError> {
    let name = format!("{command:?}");
    let output = command.output().map_err(|error| ProgramError::NotRun {
        command: name.clone(),
        error,
    })?;
    if output.status.success() {
        return Ok(output);
    }
    Err(ProgramError::Failed {
        command: name,
        said: String::from_utf8_lossy(&output.stderr).trim().to_owned(),
    })
}
