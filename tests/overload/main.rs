//! More than the workers can do: what is answered in time, who gets it, and what the others are told. Simulated workers,
//! in memory and in virtual time.

#[expect(
    dead_code,
    reason = "the rig of the request path, of which this needs a part"
)]
#[path = "../request_path/rig.rs"]
mod rig;

mod goodput;
mod tenants;
