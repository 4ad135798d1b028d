//! What to ask another pair for, so that a stream goes on where it is.
//!
//! The prompt of the second request is the first one's with the answer so far behind it, its limits are less by what
//! the client has. Everything else stays as the client wrote it. How the answer gets behind the prompt:
//!
//! | endpoint | prompt | becomes |
//! |---|---|---|
//! | `/generate` | `input_ids` | the same ids and the answer's, which its events show |
//! | `/generate` | `text` | the prompt's ids, from a worker's tokenizer, and the answer's; without a tokenizer, or with images, the text and the answer's text |
//! | completions | text | the text and the answer's text |
//! | completions | token ids | the ids and those of the answer's text, from a worker's tokenizer |
//! | chat | messages | one more message of the assistant, with `continue_final_message` |
//!
//! Ids go on to the token. Text goes on to the character: a model that spelled its answer otherwise than its tokenizer
//! would have finds its own words spelled the tokenizer's way.

use std::fmt::Write as _;

use serde_json::value::RawValue;

use super::answer::{Answer, string_in};
use super::eligible;
use super::obstacle::Obstacle;
use super::rewrite::Rewrite;
use super::said::Said;
use super::tokenizer::Tokenizer;
use crate::proxy::endpoint::Endpoint;
use crate::proxy::object::Object;
use crate::proxy::tokens::Prompt;
use crate::telemetry::TokenCount;

/// SGLang's limits where a request names none.
const GENERATE_TOKENS: u32 = 128;
const COMPLETION_TOKENS: u32 = 16;

/// How many of the last tokens may be parts of one character that isn't whole yet: no character has more bytes.
const PARTS_OF_A_CHARACTER: usize = 4;

/// Members of `/generate` that stand for something inside the text, so that its ids aren't the text's alone.
const MEDIA: [&str; 4] = ["image_data", "video_data", "audio_data", "image_embeds"];

/// How a stream goes on.
#[derive(Debug)]
pub(in crate::proxy) enum Next {
    /// The client has all of it but the event that says so.
    Close,
    Ask(Box<Draft>),
}

/// A request that isn't written yet: a tokenizer may have to be asked first.
#[derive(Debug)]
pub(in crate::proxy) struct Draft {
    endpoint: Endpoint,
    request: Vec<u8>,
    answer: Answer,
}

/// The request for the next pair, and how its answer is to be read.
#[derive(Debug)]
pub(in crate::proxy) struct Continued {
    pub(in crate::proxy) body: String,
    pub(in crate::proxy) rewrite: Rewrite,
}

impl Next {
    /// How the stream of `request` goes on, of which the client has `said`. `output` and `prompt` are its meter's.
    pub(in crate::proxy) fn of(
        endpoint: Endpoint,
        request: &[u8],
        said: &Said,
        output: TokenCount,
        prompt: Option<Prompt>,
    ) -> Result<Self, Obstacle> {
        let answer = Answer::read(endpoint, said, output, prompt)?;
        let members = Object::parse(request).ok_or(Obstacle::Unreadable)?;
        let sampling = sampling_of(&members)?;
        if let Some(obstacle) = eligible::obstacle(endpoint, &members, &sampling) {
            return Err(obstacle);
        }
        if answer.finished && !(endpoint != Endpoint::Generate && usage_is_missing(&members, said))
        {
            return Ok(Self::Close);
        }
        let holder = if endpoint == Endpoint::Generate {
            &sampling
        } else {
            &members
        };
        let text = answer.decoded().ok_or(Obstacle::Unreadable)?;
        if !answer.finished && eligible::stop_has_begun(&text, &stops_in(holder)) {
            return Err(Obstacle::StopBegun);
        }
        Ok(Self::Ask(Box::new(Draft {
            endpoint,
            request: request.to_vec(),
            answer,
        })))
    }
}

impl Draft {
    /// Writes the request. `tokenizer` is a worker's, if there is one that could be asked.
    pub(in crate::proxy) async fn write(
        mut self,
        tokenizer: Option<&Tokenizer>,
    ) -> Result<Continued, Obstacle> {
        let request = std::mem::take(&mut self.request);
        let mut members = Object::parse(&request).ok_or(Obstacle::Unreadable)?;
        match self.endpoint {
            Endpoint::Generate => self.put_behind_generate(&mut members, tokenizer).await?,
            Endpoint::Completions => self.put_behind_completion(&mut members, tokenizer).await?,
            Endpoint::Chat => {
                self.count(tokenizer).await;
                put_behind_messages(&mut members, &self.answer.text)?;
            }
            Endpoint::Rerank
            | Endpoint::Embeddings
            | Endpoint::Classify
            | Endpoint::Score
            | Endpoint::Responses => return Err(Obstacle::Unreadable),
        }
        let overrun = self.limit(&mut members)?;
        Ok(Continued {
            body: members.to_json(),
            rewrite: Rewrite::new(self.endpoint, self.answer, overrun),
        })
    }

    async fn put_behind_generate(
        &mut self,
        members: &mut Object<'_>,
        tokenizer: Option<&Tokenizer>,
    ) -> Result<(), Obstacle> {
        let skips_special = sampling_of(members)?
            .read("skip_special_tokens")
            .unwrap_or(true);
        let text = members.get("text").map(RawValue::get).map(str::to_owned);
        let prompt: Option<Vec<u32>> = match (&text, tokenizer) {
            (None, _) => Some(members.read("input_ids").ok_or(Obstacle::Prompt)?),
            (Some(text), Some(tokenizer))
                if MEDIA.iter().all(|name| members.get(name).is_none()) =>
            {
                tokenizer.ids(text, true).await
            }
            (Some(_), _) => None,
        };
        let whole = self.ids_of_whole_characters(skips_special, tokenizer).await;
        match (prompt, whole, text) {
            (Some(prompt), Some(whole), _) => {
                self.answer.ids.truncate(whole);
                self.answer.tokens = u32::try_from(whole).unwrap_or(u32::MAX);
                members.remove("text");
                members.set("input_ids", list(prompt.iter().chain(&self.answer.ids)));
            }
            (_, _, Some(text)) => members.set("text", behind(&text, &self.answer.text)?),
            (_, None, None) | (None, _, None) => return Err(Obstacle::Unreadable),
        }
        Ok(())
    }

    /// How many of the answer's ids make up its text. The last ones may be parts of a character that the client hasn't
    /// seen, because it isn't whole. `None` where they don't make up the text at all.
    async fn ids_of_whole_characters(
        &self,
        skips_special: bool,
        tokenizer: Option<&Tokenizer>,
    ) -> Option<usize> {
        let Some(tokenizer) = tokenizer else {
            return Some(self.answer.ids.len());
        };
        let said = self.answer.decoded()?;
        let ids = &self.answer.ids;
        for whole in (ids.len().saturating_sub(PARTS_OF_A_CHARACTER)..=ids.len()).rev() {
            let text = tokenizer.text(&ids[..whole], skips_special).await?;
            if text.ends_with(char::REPLACEMENT_CHARACTER) {
                continue;
            }
            // The worker's text may begin otherwise: it was decoded behind the prompt's last tokens.
            let end = text.chars().rev().take(8);
            return end
                .zip(said.chars().rev())
                .all(|(a, b)| a == b)
                .then_some(whole);
        }
        None
    }

    async fn put_behind_completion(
        &mut self,
        members: &mut Object<'_>,
        tokenizer: Option<&Tokenizer>,
    ) -> Result<(), Obstacle> {
        let prompt = members.get("prompt").ok_or(Obstacle::Prompt)?;
        let (list_of_one, prompt) = match serde_json::from_str::<[&RawValue; 1]>(prompt.get()) {
            Ok([only]) if only.get().starts_with(['"', '[']) => (true, only.get()),
            Ok(_) | Err(_) => (false, prompt.get()),
        };
        let prompt = if prompt.starts_with('[') {
            let mut ids: Vec<u32> = serde_json::from_str(prompt).map_err(|_| Obstacle::Prompt)?;
            ids.extend(self.count(tokenizer).await.ok_or(Obstacle::NoTokenizer)?);
            list(&ids)
        } else {
            self.count(tokenizer).await;
            behind(prompt, &self.answer.text)?
        };
        members.set(
            "prompt",
            if list_of_one {
                format!("[{prompt}]")
            } else {
                prompt
            },
        );
        Ok(())
    }

    /// Has the tokens of the text so far counted where no worker has: a chunk is not always one token.
    async fn count(&mut self, tokenizer: Option<&Tokenizer>) -> Option<Vec<u32>> {
        let ids = tokenizer?
            .ids(&format!("\"{}\"", self.answer.text), false)
            .await?;
        if !self.answer.counted {
            self.answer.tokens = u32::try_from(ids.len()).unwrap_or(u32::MAX);
        }
        Some(ids)
    }

    /// Lowers the request's limits by what is there. Answers whether there already is as much as may be: one token more
    /// is asked for then, because none is no request, and left out.
    fn limit(&self, members: &mut Object<'_>) -> Result<bool, Obstacle> {
        let mut overrun = self.answer.finished;
        let said = self.answer.tokens;
        let mut lower = |object: &mut Object<'_>, name: &str, default: Option<u32>| {
            let given = object.get(name).is_some();
            let Some(most) = object.read::<u32>(name).or(default.filter(|_| !given)) else {
                return if given {
                    Err(Obstacle::Unreadable)
                } else {
                    Ok(())
                };
            };
            let left = if overrun {
                0
            } else {
                most.saturating_sub(said)
            };
            overrun |= left == 0;
            object.set(name, left.max(1).to_string());
            Ok(())
        };
        match self.endpoint {
            Endpoint::Generate => {
                let json = members
                    .get("sampling_params")
                    .map_or("{}", RawValue::get)
                    .to_owned();
                let mut sampling = Object::parse(json.as_bytes()).ok_or(Obstacle::Unreadable)?;
                lower(&mut sampling, "max_new_tokens", Some(GENERATE_TOKENS))?;
                lower_least(&mut sampling, "min_new_tokens", said);
                members.set("sampling_params", sampling.to_json());
            }
            Endpoint::Chat if members.get("max_completion_tokens").is_some() => {
                lower(members, "max_completion_tokens", None)?;
                lower(members, "max_tokens", None)?;
                lower_least(members, "min_tokens", said);
            }
            Endpoint::Chat if self.answer.finished => {
                members.set("max_tokens", "1");
                lower_least(members, "min_tokens", said);
            }
            Endpoint::Chat => {
                lower(members, "max_tokens", None)?;
                lower_least(members, "min_tokens", said);
            }
            Endpoint::Completions
            | Endpoint::Rerank
            | Endpoint::Embeddings
            | Endpoint::Classify
            | Endpoint::Score
            | Endpoint::Responses => {
                lower(members, "max_tokens", Some(COMPLETION_TOKENS))?;
                lower_least(members, "min_tokens", said);
            }
        }
        Ok(overrun)
    }
}

fn lower_least(object: &mut Object<'_>, name: &str, said: u32) {
    if let Some(least) = object.read::<u32>(name) {
        // One token is asked for at the least, see above.
        object.set(name, least.saturating_sub(said).to_string());
    }
}

/// `sampling_params`, where they are one object.
fn sampling_of<'a>(members: &'a Object<'_>) -> Result<Object<'a>, Obstacle> {
    match members.get("sampling_params") {
        None => Ok(Object::default()),
        Some(raw) => Object::parse(raw.get().as_bytes()).ok_or(Obstacle::Sequences),
    }
}

fn stops_in(members: &Object<'_>) -> Vec<String> {
    let one = members.read::<String>("stop").map(|stop| vec![stop]);
    one.or_else(|| members.read("stop")).unwrap_or_default()
}

/// Whether the client waits for a usage at the end that it doesn't have yet.
fn usage_is_missing(members: &Object<'_>, said: &Said) -> bool {
    let options = members.object("stream_options");
    let wanted = options.and_then(|options| options.read("include_usage")) == Some(true);
    wanted && memchr::memmem::find(said.last(), b"\"choices\":[]").is_none()
}

/// One more message of the assistant's; or, where the client wanted its own last one continued, that one made longer.
fn put_behind_messages(members: &mut Object<'_>, text: &str) -> Result<(), Obstacle> {
    let messages = members.get("messages").ok_or(Obstacle::Prompt)?.get();
    let each: Vec<&RawValue> = serde_json::from_str(messages).map_err(|_| Obstacle::Prompt)?;
    let last = each.last().ok_or(Obstacle::Prompt)?.get();
    let mut last = Object::parse(last.as_bytes()).ok_or(Obstacle::Prompt)?;
    let mut messages: Vec<String> = each.iter().map(|raw| raw.get().to_owned()).collect();
    if last.read::<String>("role").as_deref() == Some("assistant") {
        let continues = members.read("continue_final_message") == Some(true);
        let content = last.get("content").filter(|_| continues);
        let content = behind(content.ok_or(Obstacle::Prompt)?.get(), text)?;
        last.set("content", content);
        messages.pop();
        messages.push(last.to_json());
    } else if !text.is_empty() {
        messages.push(format!("{{\"role\":\"assistant\",\"content\":\"{text}\"}}"));
        members.set("continue_final_message", "true");
    }
    members.set("messages", format!("[{}]", messages.join(",")));
    Ok(())
}

/// A JSON string with `text`, which stands in one, behind it.
fn behind(string: &str, text: &str) -> Result<String, Obstacle> {
    let raw: &RawValue = serde_json::from_str(string).map_err(|_| Obstacle::Prompt)?;
    let prompt = string_in(raw).ok_or(Obstacle::Prompt)?;
    Ok(format!("\"{prompt}{text}\""))
}

/// A JSON list of token ids.
pub(super) fn list<'a>(ids: impl IntoIterator<Item = &'a u32>) -> String {
    let mut json = String::from("[");
    for (index, id) in ids.into_iter().enumerate() {
        let comma = if index > 0 { "," } else { "" };
        let _ = write!(json, "{comma}{id}");
    }
    json.push(']');
    json
}
