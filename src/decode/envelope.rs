//! The top level of an event: which keys it has and where their values stand on the tape.

use super::section::width;
use super::{Latency, Served};
use crate::event::{EventTime, NO_UNIT, Outcome, Role, bucket_of, double_hash, integer_hash, unit_hash};
use simd_json::{Node, StaticNode};

/// What is wrong with an event, before it becomes a [`super::Rejection`].
pub(super) type Wrong = (Outcome, &'static str);

/// The values of the keys that matter; a null value is an absent one, the last of equal keys wins.
#[derive(Default)]
pub(super) struct Envelope<'tape, 'input> {
    pub timestamp: Option<&'tape Node<'input>>,
    pub model: Option<&'tape Node<'input>>,
    pub version: Option<&'tape Node<'input>>,
    pub role: Option<&'tape Node<'input>>,
    pub namespace: Option<&'tape Node<'input>>,
    pub unit: Option<&'tape Node<'input>>,
    pub request_id: Option<&'tape Node<'input>>,
    pub latency: Option<&'tape Node<'input>>,
    pub error: Option<&'tape Node<'input>>,
    pub features: Option<&'tape [Node<'input>]>,
    pub predictions: Option<&'tape [Node<'input>]>,
    pub labels: Option<&'tape [Node<'input>]>,
}

impl<'tape, 'input> Envelope<'tape, 'input> {
    pub(super) fn read(tape: &'tape [Node<'input>]) -> Result<Envelope<'tape, 'input>, Wrong> {
        if !matches!(tape.first(), Some(Node::Object { .. })) {
            return Err((Outcome::Unreadable, "not a JSON object"));
        }
        let mut envelope = Envelope::default();
        let mut at = 1;
        while let Some(Node::String(key)) = tape.get(at) {
            let width = width(&tape[at + 1]);
            let value = &tape[at + 1..at + 1 + width];
            let value = Some(value).filter(|value| value[0] != Node::Static(StaticNode::Null));
            let first = value.map(|value| &value[0]);
            match *key {
                "timestamp" => envelope.timestamp = first,
                "model" => envelope.model = first,
                "model_version" => envelope.version = first,
                "role" => envelope.role = first,
                "namespace" => envelope.namespace = first,
                "unit" => envelope.unit = first,
                "request_id" => envelope.request_id = first,
                "latency_ms" => envelope.latency = first,
                "error" => envelope.error = first,
                "features" => envelope.features = value,
                "predictions" => envelope.predictions = value,
                "labels" => envelope.labels = value,
                _ => {}
            }
            at += 1 + width;
        }
        Ok(envelope)
    }

    pub(super) fn model(&self) -> Result<&'input str, Wrong> {
        text(self.model, "model is missing", "model is not a string")
    }

    pub(super) fn version(&self) -> Result<&'input str, Wrong> {
        text(self.version, "model_version is missing", "model_version is not a string")
    }

    /// The event's own role; a value that is no role counts as none.
    pub(super) fn role(&self) -> Option<Role> {
        match self.role {
            Some(Node::String("stable")) => Some(Role::Stable),
            Some(Node::String("canary")) => Some(Role::Canary),
            _ => None,
        }
    }

    /// The bucket of the event's unit or, without one, of its request. A value that is neither a string nor a
    /// whole number counts as none.
    pub(super) fn unit(&self) -> u8 {
        self.unit.and_then(hash_of).or_else(|| self.request()).map_or(NO_UNIT, bucket_of)
    }

    /// The hash of the event's request, if it names one.
    pub(super) fn request(&self) -> Option<u64> {
        self.request_id.and_then(hash_of)
    }

    /// What it says of how it was served. `false`, 0 and the empty string are no errors.
    pub(super) fn served(&self) -> Served {
        let number = |number: &StaticNode| match number {
            StaticNode::F64(number) => Some(*number),
            StaticNode::I64(number) => Some(*number as f64),
            StaticNode::U64(number) => Some(*number as f64),
            StaticNode::Bool(_) | StaticNode::Null => None,
        };
        let failed = self.error.is_some_and(|error| match error {
            Node::String(text) => !text.is_empty(),
            Node::Static(StaticNode::Bool(truth)) => *truth,
            Node::Static(other) => number(other) != Some(0.0),
            Node::Object { .. } | Node::Array { .. } => true,
        });
        let latency = match self.latency {
            None => Latency::None,
            Some(Node::Static(value)) => number(value).map_or(Latency::Unusable, Latency::of),
            Some(_) => Latency::Unusable,
        };
        Served { answered: failed || self.predictions.is_some(), failed, latency }
    }

    /// Whether there is a `namespace` and it is not `configured`.
    pub(super) fn is_foreign(&self, configured: &str) -> bool {
        match self.namespace {
            None => false,
            Some(Node::String(namespace)) => *namespace != configured,
            Some(_) => true,
        }
    }

    /// Checks that the event carries something, and that what it carries are objects.
    pub(super) fn check_content(&self) -> Result<(), Wrong> {
        let parts = [
            (self.features, "features is not an object"),
            (self.predictions, "predictions is not an object"),
            (self.labels, "labels is not an object"),
        ];
        if parts.iter().all(|(part, _)| part.is_none()) {
            return Err((Outcome::Unreadable, "carries nothing: no features, predictions or labels"));
        }
        for (part, reason) in parts {
            if part.is_some_and(|part| !matches!(part[0], Node::Object { .. })) {
                return Err((Outcome::Unreadable, reason));
            }
        }
        Ok(())
    }

    /// The event's own time, if it has one.
    pub(super) fn time(&self) -> Result<Option<EventTime>, Wrong> {
        let time = match self.timestamp {
            None => return Ok(None),
            Some(Node::String(text)) => EventTime::parse_rfc3339(text).ok(),
            Some(Node::Static(StaticNode::I64(epoch))) => Some(EventTime::from_epoch_integer(*epoch)),
            Some(Node::Static(StaticNode::U64(epoch))) => {
                i64::try_from(*epoch).ok().map(EventTime::from_epoch_integer)
            }
            Some(Node::Static(StaticNode::F64(epoch))) => EventTime::from_epoch(*epoch).ok(),
            Some(_) => None,
        };
        time.map(Some).ok_or((Outcome::TimeOutOfBounds, "timestamp is neither RFC 3339 nor an epoch number"))
    }
}

fn hash_of(node: &Node<'_>) -> Option<u64> {
    match node {
        Node::String(text) => Some(unit_hash(text.as_bytes())),
        Node::Static(StaticNode::I64(number)) => Some(integer_hash(i128::from(*number))),
        Node::Static(StaticNode::U64(number)) => Some(integer_hash(i128::from(*number))),
        Node::Static(StaticNode::F64(number)) => double_hash(*number),
        _ => None,
    }
}

fn text<'input>(
    node: Option<&Node<'input>>,
    missing: &'static str,
    wrong: &'static str,
) -> Result<&'input str, Wrong> {
    match node {
        Some(Node::String(text)) => Ok(text),
        Some(_) => Err((Outcome::Unreadable, wrong)),
        None => Err((Outcome::Unreadable, missing)),
    }
}
