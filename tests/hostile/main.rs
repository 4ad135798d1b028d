//! Clients and workers that mean no good, or have gone wrong, over real sockets: what they may take, and what everybody
//! else sees of it.

mod bodies;
mod heads;
mod lies;
mod rig;
mod smuggling;
