//! The document.
use std::path::Path;
#[derive(Debug)]
pub enum DocumentError {}
impl std::fmt::Display for DocumentError {
    fn fmt(&self, _f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        Ok(())
    }
}
pub fn write(_folder: &Path, _document: &Path) -> Result<(), DocumentError> {
    Ok(())
}
