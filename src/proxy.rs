pub mod bootstrap;
pub mod endpoint;
pub mod request;
