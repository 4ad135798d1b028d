//! What the router reads of a request body, and nothing more.
//!
//! One pass over the bytes finds the members of the top-level object that routing needs; everything else is skipped
//! without being built. The body itself is never re-typed: see [`super::bootstrap`] for how fields get in.

use std::borrow::Cow;
use std::fmt;
use std::ops::Range;

use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;
use smallvec::SmallVec;

use super::endpoint::Endpoint;
use super::object::Name;

/// Names of the members that pair a prefill with a decode. A client's own are replaced.
pub const BOOTSTRAP_MEMBERS: [&str; 3] = ["bootstrap_host", "bootstrap_port", "bootstrap_room"];

/// What a [`ForeignField`] calls a `rid` that is null: a client's way to say none, and a member all the same, which would
/// win over the router's own in front of it.
pub const NULL_RID: usize = BOOTSTRAP_MEMBERS.len();

/// Why a body can't be routed. The client's mistake, always.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RequestError {
    NotJson(String),
    NotAnObject,
    /// So many samples of a chat, from a prefill/decode pair.
    SamplesOfChat(u64),
    TooManyBootstrapMembers,
}

impl fmt::Display for RequestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotJson(cause) => write!(f, "the request body is not valid JSON: {cause}"),
            Self::NotAnObject => f.write_str("the request body must be a JSON object"),
            Self::SamplesOfChat(samples) => write!(
                f,
                "n is {samples}, and SGLang's prefill and decode workers never answer more than one sample of a chat: \
                 send {samples} requests"
            ),
            Self::TooManyBootstrapMembers => write!(
                f,
                "the request body has more than {MOST_FOREIGN} bootstrap members, which are the router's to set"
            ),
        }
    }
}

impl std::error::Error for RequestError {}

/// How many sequences a request asks for, and how its bootstrap fields have to look for the engine to match them up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Batch {
    /// One prompt: scalar fields. The engine counts up from the room for parallel samples, so `rooms` are reserved.
    Scalar { rooms: u64 },
    /// A list of prompts (or chat's `n`): lists of that length.
    List { len: u64 },
}

impl Batch {
    pub const fn rooms(self) -> u64 {
        match self {
            Self::Scalar { rooms } => rooms,
            Self::List { len } => len,
        }
    }
}

/// A member that the client sent itself and whose value is replaced: which of [`BOOTSTRAP_MEMBERS`], or [`NULL_RID`], and
/// where its value stands in the body.
pub type ForeignField = (usize, Range<usize>);

/// The facts of a request that the router acts on. Borrows the body.
#[derive(Debug)]
pub struct RequestView<'a> {
    /// The prompt as it stands in the JSON, escapes and all; empty where there is none.
    pub prompt: &'a str,
    pub stream: bool,
    pub model: Option<Cow<'a, str>>,
    pub batch: Batch,
    /// Answers that are wanted to each prompt.
    pub samples: u64,
    /// The client wants log probabilities of the prompt, which only the prefill leg knows.
    pub wants_prompt_logprobs: bool,
    pub has_rid: bool,
    /// SGLang's `priority`, as the client gave it: what it means is the queue's to say.
    pub priority: Option<i64>,
    pub foreign: SmallVec<[ForeignField; 0]>,
    /// Where the top-level object begins: the offset of its `{`.
    pub object_start: usize,
    pub object_is_empty: bool,
}

/// No engine takes a batch near this.
const MAX_BATCH: u64 = 65_536;

/// Batches up to this get lists of bootstrap fields, as the peer has it; longer ones scalars, which the engine counts up
/// itself. A list has some 40 bytes for each of the batch, so that a short body with a large `n` would make the router
/// write megabytes.
const LONGEST_LIST: u64 = 1_024;

/// Bootstrap members that a body may have, each of which is replaced: one of each name is all that makes sense. A short
/// body with a batch and many of them would make the router write a list for each.
const MOST_FOREIGN: usize = 8;

/// The same as a length.
pub(super) const MAX_BATCH_LEN: usize = MAX_BATCH as usize;

impl<'a> RequestView<'a> {
    pub fn parse(endpoint: Endpoint, body: &'a [u8]) -> Result<Self, RequestError> {
        let object_start = body
            .iter()
            .position(|byte| !byte.is_ascii_whitespace())
            .unwrap_or(body.len());
        match body.get(object_start) {
            Some(b'{') => {}
            Some(_) if serde_json::from_slice::<IgnoredAny>(body).is_ok() => {
                return Err(RequestError::NotAnObject);
            }
            _ => return Err(RequestError::NotJson("expected an object".to_owned())),
        }
        let members: Members<'a> = serde_json::from_slice(body)
            .map_err(|cause| RequestError::NotJson(cause.to_string()))?;
        if members.foreign.len() > MOST_FOREIGN {
            return Err(RequestError::TooManyBootstrapMembers);
        }
        let samples = members.samples(endpoint);
        Ok(Self {
            prompt: members.prompt(endpoint),
            stream: members.stream.is_some_and(is_true),
            model: members
                .model
                .and_then(|raw| serde_json::from_str(raw.get()).ok()),
            batch: members.batch(endpoint, samples),
            samples,
            wants_prompt_logprobs: endpoint == Endpoint::Generate
                && members.return_logprob.is_some_and(wants_any),
            has_rid: members.rid.is_some_and(|raw| raw.get() != "null"),
            foreign: members.foreign(body),
            priority: members.priority.and_then(|raw| raw.get().parse().ok()),
            object_start,
            object_is_empty: members.count == 0,
        })
    }
}

/// Where `raw`, a part of `body`, stands in it.
fn span(body: &[u8], raw: &RawValue) -> Range<usize> {
    let start = raw.get().as_ptr().addr() - body.as_ptr().addr();
    start..start + raw.get().len()
}

fn is_true(raw: &RawValue) -> bool {
    raw.get() == "true"
}

/// `return_logprob` is a bool, or for batches a list of bools.
fn wants_any(raw: &RawValue) -> bool {
    is_true(raw) || (raw.get().starts_with('[') && raw.get().contains("true"))
}

/// The members of the top-level object that matter to some endpoint, unparsed. The last of equal names counts, as
/// Python's parsers have it.
#[derive(Default)]
struct Members<'a> {
    prompts: [Option<&'a RawValue>; PROMPT_MEMBERS.len()],
    stream: Option<&'a RawValue>,
    model: Option<&'a RawValue>,
    n: Option<&'a RawValue>,
    sampling_params: Option<&'a RawValue>,
    return_logprob: Option<&'a RawValue>,
    rid: Option<&'a RawValue>,
    priority: Option<&'a RawValue>,
    foreign: SmallVec<[(usize, &'a RawValue); 0]>,
    count: usize,
}

/// Every member that may hold a prompt, see [`Endpoint::prompt_members`].
const PROMPT_MEMBERS: [&str; 7] = [
    "text",
    "input_ids",
    "input_embeds",
    "prompt",
    "messages",
    "query",
    "input",
];

impl<'a> Members<'a> {
    fn prompt_member(&self, name: &str) -> Option<&'a RawValue> {
        let position = PROMPT_MEMBERS.iter().position(|member| *member == name)?;
        self.prompts[position].filter(|raw| raw.get() != "null")
    }

    /// What is replaced, in the order in which it stands in the body.
    fn foreign(&self, body: &[u8]) -> SmallVec<[ForeignField; 0]> {
        let null_rid = self.rid.filter(|raw| raw.get() == "null");
        let null_rid = null_rid.map(|raw| (NULL_RID, raw));
        let fields = self.foreign.iter().copied().chain(null_rid);
        let mut foreign: SmallVec<_> = fields
            .map(|(which, raw)| (which, span(body, raw)))
            .collect();
        foreign.sort_unstable_by_key(|(_, span): &ForeignField| span.start);
        foreign
    }

    fn prompt(&self, endpoint: Endpoint) -> &'a str {
        endpoint
            .prompt_members()
            .iter()
            .find_map(|name| self.prompt_member(name))
            .map_or("", RawValue::get)
    }

    fn samples(&self, endpoint: Endpoint) -> u64 {
        match endpoint {
            Endpoint::Generate => self.samples_in_sampling_params(),
            Endpoint::Completions | Endpoint::Chat => self.n(),
            Endpoint::Rerank
            | Endpoint::Embeddings
            | Endpoint::Classify
            | Endpoint::Score
            | Endpoint::Responses => 1,
        }
    }

    fn batch(&self, endpoint: Endpoint, samples: u64) -> Batch {
        match endpoint {
            Endpoint::Generate => self.generate_batch(samples),
            Endpoint::Completions => list_or_samples(
                self.prompt_member("prompt").and_then(list_of_prompts),
                samples,
            ),
            Endpoint::Chat if samples > LONGEST_LIST => Batch::Scalar { rooms: samples },
            Endpoint::Chat if samples > 1 => Batch::List { len: samples },
            _ => Batch::Scalar { rooms: 1 },
        }
    }

    fn generate_batch(&self, samples: u64) -> Batch {
        let prompts = ["text", "input_ids", "input_embeds"]
            .into_iter()
            .find_map(|name| {
                let raw = self.prompt_member(name)?;
                Some(if name == "input_embeds" {
                    list_of_embeddings(raw)
                } else {
                    list_of_prompts(raw)
                })
            });
        list_or_samples(prompts.flatten(), samples)
    }

    fn n(&self) -> u64 {
        self.n
            .and_then(|raw| raw.get().parse().ok())
            .map_or(1, bounded)
    }

    fn samples_in_sampling_params(&self) -> u64 {
        #[derive(Deserialize)]
        struct Sampling {
            #[serde(default)]
            n: Option<u64>,
        }
        self.sampling_params
            .and_then(|raw| serde_json::from_str::<Sampling>(raw.get()).ok())
            .and_then(|sampling| sampling.n)
            .map_or(1, bounded)
    }
}

fn bounded(samples: u64) -> u64 {
    samples.clamp(1, MAX_BATCH)
}

/// A list of prompts gets lists of fields, unless each prompt is sampled more than once: the engine would then repeat
/// the list and with it every room, and two requests in one room get each other's text. A scalar room is counted up
/// over all samples instead, and over prompts that are too many for a list.
fn list_or_samples(prompts: Option<u64>, samples: u64) -> Batch {
    match prompts {
        Some(len) if samples == 1 && len <= LONGEST_LIST => Batch::List { len },
        Some(len) => Batch::Scalar {
            rooms: len.saturating_mul(samples).min(MAX_BATCH),
        },
        None => Batch::Scalar { rooms: samples },
    }
}

/// The number of prompts where `raw` is a list of strings or of token lists; `None` for one prompt (a string, or one
/// list of token ids) and for an empty list.
fn list_of_prompts(raw: &RawValue) -> Option<u64> {
    matches!(first_element(raw)?, b'"' | b'[').then(|| count_elements(raw))
}

/// Whether `raw` is a list of prompts, and not one prompt.
pub(super) fn is_list_of_prompts(raw: &RawValue) -> bool {
    list_of_prompts(raw).is_some()
}

/// Embeddings are lists of lists already; a batch of them nests once more.
fn list_of_embeddings(raw: &RawValue) -> Option<u64> {
    let inner = raw.get().strip_prefix('[')?.trim_start();
    let innermost = inner.strip_prefix('[')?.trim_start();
    innermost.starts_with('[').then(|| count_elements(raw))
}

/// The first byte of the first element of a list.
fn first_element(raw: &RawValue) -> Option<u8> {
    raw.get().strip_prefix('[')?.trim_start().bytes().next()
}

fn count_elements(list: &RawValue) -> u64 {
    struct Count(u64);
    impl<'de> Deserialize<'de> for Count {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            struct Counting;
            impl<'de> Visitor<'de> for Counting {
                type Value = Count;
                fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                    f.write_str("a list")
                }
                fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Count, A::Error> {
                    let mut count = 0;
                    while list.next_element::<IgnoredAny>()?.is_some() {
                        count += 1;
                    }
                    Ok(Count(count))
                }
            }
            deserializer.deserialize_seq(Counting)
        }
    }
    serde_json::from_str::<Count>(list.get()).map_or(1, |count| count.0)
}

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(MembersVisitor)
    }
}

struct MembersVisitor;

impl<'de> Visitor<'de> for MembersVisitor {
    type Value = Members<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut members = Members::default();
        while let Some(Name(name)) = map.next_key::<Name<'de>>()? {
            members.count += 1;
            let slot = match &*name {
                "stream" => &mut members.stream,
                "model" => &mut members.model,
                "n" => &mut members.n,
                "sampling_params" => &mut members.sampling_params,
                "return_logprob" => &mut members.return_logprob,
                "rid" => &mut members.rid,
                "priority" => &mut members.priority,
                name => {
                    if let Some(position) = PROMPT_MEMBERS.iter().position(|member| *member == name)
                    {
                        &mut members.prompts[position]
                    } else if let Some(which) =
                        BOOTSTRAP_MEMBERS.iter().position(|member| *member == name)
                    {
                        let value = map.next_value()?;
                        // One too many says as much as all of them.
                        if members.foreign.len() <= MOST_FOREIGN {
                            members.foreign.push((which, value));
                        }
                        continue;
                    } else {
                        map.next_value::<IgnoredAny>()?;
                        continue;
                    }
                }
            };
            *slot = Some(map.next_value()?);
        }
        Ok(members)
    }
}
