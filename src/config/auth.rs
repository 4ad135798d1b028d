//! Who may call what.
//!
//! Secrets are marked `hide_env_values`: what prints settings asks for that mark. Nothing here shows them in `Debug`.

use std::fmt;

use clap::Args;

use super::parse;

/// Keys of clients and operators.
#[derive(Clone, PartialEq)]
pub struct AuthSettings {
    pub api_key: Option<String>,
    pub control_plane_api_keys: Vec<ControlPlaneKey>,
    /// A token issuer is set. Its tokens are not understood here, so the control plane must then stay shut to them.
    pub jwt_configured: bool,
    /// Every call of the control plane is logged.
    pub audit: bool,
}

/// A key of the control plane: `id:name:role:key`.
#[derive(Clone, PartialEq, Eq)]
pub struct ControlPlaneKey {
    pub id: String,
    pub name: String,
    pub role: ControlPlaneRole,
    pub key: String,
}

/// What a key of the control plane may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ControlPlaneRole {
    Admin,
    User,
}

#[derive(Args)]
#[command(next_help_heading = "Control Plane Authentication")]
pub(super) struct AuthFlags {
    /// Key that clients must send as a bearer token [default: none needed]
    #[arg(long, value_name = "KEY", hide_env_values = true)]
    api_key: Option<String>,

    /// Keys of the control plane, each id:name:role:key with the role admin or user
    #[arg(
        long, value_name = "KEY", hide_env_values = true, num_args = 0.., action = clap::ArgAction::Set,
        value_parser = parse::control_plane_key
    )]
    control_plane_api_keys: Vec<ControlPlaneKey>,

    /// Log every call of the control plane
    #[arg(id = "control-plane-audit-enabled", long)]
    audit: bool,

    /// Issuer of JSON web tokens: accepted; tokens are not understood, the control plane refuses them
    #[arg(long, value_name = "URL")]
    jwt_issuer: Option<String>,

    /// Audience of --jwt-issuer's tokens
    #[arg(long, value_name = "NAME")]
    jwt_audience: Option<String>,

    /// Where --jwt-issuer's keys are
    #[arg(long, value_name = "URL")]
    jwt_jwks_uri: Option<String>,

    /// Roles of --jwt-issuer's tokens, each theirs=admin or theirs=user
    #[arg(
        long, value_name = "ROLE=ROLE", num_args = 0.., action = clap::ArgAction::Set,
        value_parser = parse::jwt_role_mapping
    )]
    jwt_role_mapping: Vec<String>,
}

impl AuthFlags {
    /// Any of the token flags counts: half a configuration must not leave a door open.
    pub(super) fn conclude(self) -> AuthSettings {
        let jwt_configured = self.jwt_issuer.is_some()
            || self.jwt_audience.is_some()
            || self.jwt_jwks_uri.is_some()
            || !self.jwt_role_mapping.is_empty();
        AuthSettings {
            api_key: self.api_key,
            control_plane_api_keys: self.control_plane_api_keys,
            jwt_configured,
            audit: self.audit,
        }
    }
}

impl fmt::Debug for AuthSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AuthSettings")
            .field("api_key", &self.api_key.as_ref().map(|_| "***"))
            .field("control_plane_api_keys", &self.control_plane_api_keys)
            .field("jwt_configured", &self.jwt_configured)
            .field("audit", &self.audit)
            .finish()
    }
}

impl fmt::Debug for ControlPlaneKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ControlPlaneKey")
            .field("id", &self.id)
            .field("name", &self.name)
            .field("role", &self.role)
            .field("key", &"***")
            .finish()
    }
}
