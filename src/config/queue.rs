//! Requests that wait in the router: how many, how long, for what and in which order.
//!
//! There is one queue for users: who waits for a place under `--max-concurrent-requests` and who waits for a prefill
//! worker with room are counted together, and a request's patience is one, wherever it is spent.

use std::num::NonZeroU64;
use std::time::Duration;

use clap::Args;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use policies::queue::{self, QueueOrder, Sharing};

use super::Mode;
use super::parse;

/// Waiting in the router.
#[derive(Debug, Clone, PartialEq)]
pub struct QueueSettings {
    /// Requests that wait at most, wherever.
    pub size: usize,
    /// How long a request waits at most, all in all.
    pub timeout: Duration,
    pub order: QueueOrder,
    /// Prompt tokens from which on a prefill worker has enough before it; `None` sends requests straight to workers.
    pub prefill_tokens: Option<NonZeroU64>,
    /// Whether requests wait for a decode worker that has fewer than it can run within the target between tokens, too.
    pub wait_for_decode: bool,
    pub sharing: Sharing,
    /// Which requests say that they are urgent; `None` where nobody is asked.
    pub priorities: Option<Urgent>,
}

/// What SGLang's flags of the same names make of a request's `priority`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Urgent {
    High,
    Low,
}

/// Two full batches of 8,192 tokens, SGLang's default: one that is being computed and one that waits, so that the
/// worker has work when it asks for it. What is beyond can still choose its worker. The simulator's scenarios have
/// the same number.
const CONTROLLER_PREFILL_TOKENS: NonZeroU64 = NonZeroU64::new(16_384).expect("not zero");

/// `sglang_router`'s numbers, for places.
const QUEUE_SIZE: usize = 100;
const TIMEOUT: Duration = Duration::from_secs(60);

/// Where the router's queue takes the place of the workers' own, which have no bound. As many come in a minute at 68
/// requests a second, which is more than the published study's four pairs sustain of its shortest prompts and answers
/// together.
const LATE_BINDING_QUEUE_SIZE: usize = 4_096;

#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Waiting Requests")]
pub(super) struct QueueFlags {
    /// Requests that wait in the router at most; 0 answers 429 at once [default: 100] (4096 with a bound of
    /// --prefill-queue-tokens)
    #[arg(long, value_name = "N", value_parser = parse::whole::<usize>)]
    queue_size: Option<usize>,

    /// Seconds that a request waits at most [default: 60] (300 with a bound of --prefill-queue-tokens)
    #[arg(id = "queue-timeout-secs", long, value_name = "SECS", value_parser = parse::positive_seconds)]
    queue_timeout: Option<Duration>,

    /// PD mode: requests wait in the router while every prefill worker has this many prompt tokens before it, and are
    /// paired with workers when one has less; 0 is no bound [default: no limit] (16384 with --policy
    /// ratio-controller)
    #[arg(long, value_name = "TOKENS", value_parser = parse::whole::<u64>)]
    prefill_queue_tokens: Option<u64>,

    /// With a bound of --prefill-queue-tokens: requests wait in the router also while every decode worker has as many in
    /// flight as it says it runs at a time (its --max-running-requests), or as keep its tokens within --itl-slo-ms, and not
    /// in decode workers in the order of arrival. Late ones leave a third of the places to others [default: false] (true
    /// with --policy ratio-controller)
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    wait_for_decode: Option<bool>,

    /// Who is next among those that wait for a prefill worker: whoever can still have its first token within
    /// --ttft-slo-ms (with a share for those that have waited for three quarters of --queue-timeout-secs), or whoever
    /// came first
    #[arg(long, value_name = "ORDER", default_value = QueueOrder::FreshFirst.as_str(), value_parser = order())]
    queue_order: QueueOrder,

    /// With a bound of --prefill-queue-tokens: tenants share the turns by prompt tokens, and a full queue by requests. A
    /// tenant is who has the same Authorization header, or where it has none or --api-key makes it everybody's, the same
    /// x-smg-routing-key
    #[arg(long, num_args = 0..=1, require_equals = true, default_value = "false", default_missing_value = "true")]
    fair_queue: bool,

    /// With a bound of --prefill-queue-tokens: of those that wait, requests with a higher `priority` in their body go
    /// first. The same flag as the workers', which else ignore it
    #[arg(long, num_args = 0..=1, require_equals = true, default_value = "false", default_missing_value = "true")]
    enable_priority_scheduling: bool,

    /// With --enable-priority-scheduling: a lower `priority` goes first. The same flag as the workers'
    #[arg(long, num_args = 0..=1, require_equals = true, default_value = "false", default_missing_value = "true")]
    schedule_low_priority_values_first: bool,
}

impl QueueFlags {
    /// A bound that the mode has no use for is named in `ignored`.
    pub(super) fn conclude(
        self,
        mode: Mode,
        ratio_controller: bool,
        ignored: &mut Vec<String>,
    ) -> QueueSettings {
        let unless_given = ratio_controller.then_some(CONTROLLER_PREFILL_TOKENS);
        let mut prefill_tokens = match self.prefill_queue_tokens {
            Some(tokens) => NonZeroU64::new(tokens),
            None => unless_given,
        };
        if mode == Mode::Regular {
            prefill_tokens = None;
            if self.prefill_queue_tokens.is_some_and(|tokens| tokens > 0) {
                ignored.push("--prefill-queue-tokens (needs --pd-disaggregation)".to_owned());
            }
        }
        if self.wait_for_decode == Some(true) && prefill_tokens.is_none() {
            ignored.push("--wait-for-decode (needs --prefill-queue-tokens)".to_owned());
        }
        for (given, flag) in [
            (self.fair_queue, "--fair-queue"),
            (
                self.enable_priority_scheduling,
                "--enable-priority-scheduling",
            ),
        ] {
            if given && prefill_tokens.is_none() {
                ignored.push(format!("{flag} (needs --prefill-queue-tokens)"));
            }
        }
        if self.schedule_low_priority_values_first && !self.enable_priority_scheduling {
            ignored.push(
                "--schedule-low-priority-values-first (needs --enable-priority-scheduling)"
                    .to_owned(),
            );
        }
        let urgent = if self.schedule_low_priority_values_first {
            Urgent::Low
        } else {
            Urgent::High
        };
        let (size, timeout) = match prefill_tokens {
            Some(_) => (LATE_BINDING_QUEUE_SIZE, queue::TIMEOUT),
            None => (QUEUE_SIZE, TIMEOUT),
        };
        QueueSettings {
            size: self.queue_size.unwrap_or(size),
            timeout: self.queue_timeout.unwrap_or(timeout),
            order: self.queue_order,
            prefill_tokens,
            wait_for_decode: prefill_tokens.is_some()
                && self.wait_for_decode.unwrap_or(ratio_controller),
            sharing: if self.fair_queue {
                Sharing::Fair
            } else {
                Sharing::None
            },
            priorities: self.enable_priority_scheduling.then_some(urgent),
        }
    }
}

fn order() -> impl TypedValueParser<Value = QueueOrder> {
    PossibleValuesParser::new(QueueOrder::ALL.map(QueueOrder::as_str)).map(|name| {
        let mut orders = QueueOrder::ALL.into_iter();
        let named = orders.find(|order| order.as_str() == name);
        named.expect("only names of orders are accepted")
    })
}
