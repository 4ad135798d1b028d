//! A simulated worker, seen from outside: in memory and in virtual time.

mod faults;
mod generate;
mod lifecycle;
mod openai;
mod support;
