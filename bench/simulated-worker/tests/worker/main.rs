//! A simulated worker, seen from outside: in memory and in virtual time.

mod counters;
mod faults;
mod generate;
mod lifecycle;
mod model;
mod openai;
mod support;
mod switch;
mod traps;
