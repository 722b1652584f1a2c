//! All `unsafe` of Tidegate: batch consumption from an application queue, how many events wait, brokers told to a
//! client, the commit of a transaction, and what the principal may do with topics, which the rdkafka crate does not
//! offer (or makes 100 ms slower than librdkafka is).

#![expect(unsafe_code, reason = "the calls below exist only in the C interface")]

use super::dead_letter::HeaderPair;
use super::denial::Operation;
use rdkafka::client::Client;
use rdkafka::types::RDKafkaErrorCode;
use rdkafka::{ClientContext, bindings as c};
use std::collections::BTreeMap;
use std::ffi::{CStr, CString, c_char, c_int};
use std::marker::PhantomData;
use std::ptr;
use std::time::Duration;

/// Messages taken from librdkafka at once. Large enough to amortise the call, small enough that a batch's
/// memory (one fetch buffer per message at worst) stays bounded.
pub const MAX_BATCH: usize = 4096;

/// A queue of the application to which partition queues are forwarded, so that many partitions are drained
/// by one cheap call while the consumer's own queue stays free for rebalances.
///
/// Must be dropped before the consumer it was made from: it holds a reference to it.
#[derive(Debug)]
pub struct BatchQueue {
    client: *mut c::rd_kafka_t,
    queue: *mut c::rd_kafka_queue_t,
}

// SAFETY: librdkafka's handles and queues may be used from any thread; the owner (`GroupConsumer`) drains the
// queue from one thread at a time, as "Note on Batch consume APIs" asks.
unsafe impl Send for BatchQueue {}
// SAFETY: as above; `&BatchQueue` only forwards partitions and drains, both of which lock inside librdkafka.
unsafe impl Sync for BatchQueue {}

impl BatchQueue {
    pub fn new<C: ClientContext>(client: &Client<C>) -> BatchQueue {
        let client = client.native_ptr();
        // SAFETY: `client` is a live handle: it is borrowed from a `Client`.
        let queue = unsafe { c::rd_kafka_queue_new(client) };
        BatchQueue { client, queue }
    }

    /// Sends a partition's messages here. To be called before the partition is assigned, on every assignment.
    pub fn forward(&self, topic: &str, partition: i32) {
        let Ok(topic) = CString::new(topic) else { return };
        // SAFETY: the handle outlives `self` (see the type's doc); the partition queue is ours to destroy.
        unsafe {
            let from = c::rd_kafka_queue_get_partition(self.client, topic.as_ptr(), partition);
            if !from.is_null() {
                c::rd_kafka_queue_forward(from, self.queue);
                c::rd_kafka_queue_destroy(from);
            }
        }
    }

    /// Waits at most `timeout_ms` for messages and hands each to `take`; returns how many there were.
    pub fn drain(&self, timeout_ms: i32, mut take: impl FnMut(BorrowedRecord<'_>)) -> usize {
        let mut batch: [*mut c::rd_kafka_message_t; MAX_BATCH] = [ptr::null_mut(); MAX_BATCH];
        // SAFETY: `batch` has room for MAX_BATCH pointers; each message written is ours until destroyed.
        let got =
            unsafe { c::rd_kafka_consume_batch_queue(self.queue, timeout_ms, batch.as_mut_ptr(), MAX_BATCH) };
        let got = usize::try_from(got).unwrap_or(0);
        for message in &batch[..got] {
            // SAFETY: librdkafka filled the first `got` entries; the record's lifetime ends before the
            // message is destroyed, which happens exactly once.
            unsafe {
                take(BorrowedRecord { message: &**message, lifetime: PhantomData });
                c::rd_kafka_message_destroy(*message);
            }
        }
        got
    }
}

impl Drop for BatchQueue {
    fn drop(&mut self) {
        // SAFETY: made by `rd_kafka_queue_new`, destroyed once.
        unsafe { c::rd_kafka_queue_destroy(self.queue) }
    }
}

/// How many events (rebalances, statistics, errors, log lines) wait in the consumer's own queue.
pub fn waiting<C: ClientContext>(client: &Client<C>) -> usize {
    // SAFETY: `client` is a live handle, and the reference to its queue is ours to destroy.
    unsafe {
        let queue = c::rd_kafka_queue_get_consumer(client.native_ptr());
        if queue.is_null() {
            return 0;
        }
        let events = c::rd_kafka_queue_length(queue);
        c::rd_kafka_queue_destroy(queue);
        events
    }
}

/// Tells a client of brokers beside those of `bootstrap.servers`; names are taken as they are.
pub fn add_brokers<C: ClientContext>(client: &Client<C>, brokers: &str) {
    let Ok(brokers) = CString::new(brokers) else { return };
    // SAFETY: the handle is live, the list a NUL-terminated string that is copied.
    unsafe {
        c::rd_kafka_brokers_add(client.native_ptr(), brokers.as_ptr());
    }
}

/// A record inside librdkafka's fetch buffer.
#[derive(Debug)]
pub struct BorrowedRecord<'a> {
    message: &'a c::rd_kafka_message_t,
    lifetime: PhantomData<&'a ()>,
}

impl BorrowedRecord<'_> {
    /// The error this is, instead of a record.
    pub fn error(&self) -> Option<rdkafka::types::RDKafkaErrorCode> {
        (self.message.err != c::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR)
            .then(|| rdkafka::types::RDKafkaErrorCode::from(self.message.err))
    }

    pub fn topic(&self) -> &str {
        if self.message.rkt.is_null() {
            return "";
        }
        // SAFETY: the topic handle lives as long as the message; its name is a NUL-terminated string.
        let name = unsafe { CStr::from_ptr(c::rd_kafka_topic_name(self.message.rkt)) };
        name.to_str().unwrap_or("")
    }

    pub fn partition(&self) -> i32 {
        self.message.partition
    }

    pub fn offset(&self) -> i64 {
        self.message.offset
    }

    /// `None`: a tombstone.
    pub fn payload(&self) -> Option<&[u8]> {
        bytes(self.message.payload.cast(), self.message.len)
    }

    pub fn key(&self) -> Option<&[u8]> {
        bytes(self.message.key.cast(), self.message.key_len)
    }

    /// Milliseconds since 1970, where the broker keeps one.
    pub fn timestamp(&self) -> Option<i64> {
        let mut kind = c::rd_kafka_timestamp_type_t::RD_KAFKA_TIMESTAMP_NOT_AVAILABLE;
        // SAFETY: the message is live.
        let stamp = unsafe { c::rd_kafka_message_timestamp(self.message, &mut kind) };
        (stamp >= 0).then_some(stamp)
    }

    /// Name and value of each header, copied; at most `most` of them and `max_bytes` of names and values
    /// together. Also whether that left any out.
    pub fn headers(&self, most: usize, max_bytes: usize) -> (Vec<HeaderPair>, bool) {
        let mut list = ptr::null_mut();
        let mut found = Vec::new();
        let mut bytes_left = max_bytes;
        // SAFETY: the header list belongs to the live message; names are NUL-terminated, values `size` long.
        unsafe {
            let status = c::rd_kafka_message_headers(self.message, &mut list);
            if status != c::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR {
                return (found, false);
            }
            loop {
                let (mut name, mut value, mut size) = (ptr::null(), ptr::null(), 0);
                let status = c::rd_kafka_header_get_all(list, found.len(), &mut name, &mut value, &mut size);
                if status != c::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR {
                    return (found, false);
                }
                let (name, value) = (CStr::from_ptr(name).to_string_lossy(), bytes(value.cast(), size));
                let needed = name.len() + value.map_or(0, <[u8]>::len);
                if found.len() == most || needed > bytes_left {
                    return (found, true);
                }
                bytes_left -= needed;
                found.push((name.into_owned(), value.map(<[u8]>::to_vec)));
            }
        }
    }
}

fn bytes<'a>(start: *const u8, length: usize) -> Option<&'a [u8]> {
    // SAFETY: librdkafka gives null for "no value", else `length` readable bytes that live as long as the
    // message; callers bind the result to the borrow of the message.
    (!start.is_null()).then(|| unsafe { std::slice::from_raw_parts(start, length) })
}

/// Whether the broker would check a commit by this member as of now: not while the member has no id or no
/// generation, for offsets sent then count as those of a program outside of any group and are never refused.
pub fn is_member<C: ClientContext>(client: &Client<C>) -> bool {
    // SAFETY: the handle is live; metadata that is not null is ours to read and to destroy once, and its member
    // id is a NUL-terminated string that lives as long as it.
    unsafe {
        let metadata = c::rd_kafka_consumer_group_metadata(client.native_ptr());
        if metadata.is_null() {
            return false;
        }
        let id = c::rd_kafka_consumer_group_metadata_member_id(metadata);
        let named = !id.is_null() && !CStr::from_ptr(id).is_empty();
        let generation = c::rd_kafka_consumer_group_metadata_generation_id(metadata);
        c::rd_kafka_consumer_group_metadata_destroy(metadata);
        named && generation > 0
    }
}

/// The ids of those of `topics` that the broker knows and gives an id. Empty when it does not answer in time.
pub fn topic_ids<C: ClientContext>(
    client: &Client<C>,
    topics: &[String],
    timeout: Duration,
) -> BTreeMap<String, String> {
    let names: Vec<CString> = topics.iter().filter_map(|topic| CString::new(topic.as_str()).ok()).collect();
    let mut pointers: Vec<*const c_char> = names.iter().map(|name| name.as_ptr()).collect();
    let millis = c_int::try_from(timeout.as_millis()).unwrap_or(c_int::MAX);
    let client = client.native_ptr();
    // SAFETY: the handle is live; `names` outlive the collection, which copies them; everything made here is
    // destroyed here, once, after the event that borrows from it has been read.
    unsafe {
        let collection = c::rd_kafka_TopicCollection_of_topic_names(pointers.as_mut_ptr(), pointers.len());
        let kind = c::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_DESCRIBETOPICS;
        let options = c::rd_kafka_AdminOptions_new(client, kind);
        c::rd_kafka_AdminOptions_set_request_timeout(options, millis, ptr::null_mut(), 0);
        let queue = c::rd_kafka_queue_new(client);
        c::rd_kafka_DescribeTopics(client, collection, options, queue);
        let event = c::rd_kafka_queue_poll(queue, millis);
        let found = if event.is_null() { BTreeMap::new() } else { ids_in(event) };
        if !event.is_null() {
            c::rd_kafka_event_destroy(event);
        }
        c::rd_kafka_queue_destroy(queue);
        c::rd_kafka_AdminOptions_destroy(options);
        c::rd_kafka_TopicCollection_destroy(collection);
        found
    }
}

/// # Safety
/// `event` must be a live event.
unsafe fn ids_in(event: *mut c::rd_kafka_event_t) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    // SAFETY: the event is live, and what is read of it belongs to it; a null result means another kind of
    // event or an error.
    unsafe {
        let result = c::rd_kafka_event_DescribeTopics_result(event);
        if result.is_null() {
            return found;
        }
        let mut count = 0;
        let topics = c::rd_kafka_DescribeTopics_result_topics(result, &mut count);
        for at in 0..count {
            let topic = *topics.add(at);
            let error = c::rd_kafka_error_code(c::rd_kafka_TopicDescription_error(topic));
            let id = c::rd_kafka_TopicDescription_topic_id(topic);
            if error != c::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR || id.is_null() {
                continue;
            }
            let bits =
                (c::rd_kafka_Uuid_most_significant_bits(id), c::rd_kafka_Uuid_least_significant_bits(id));
            if bits != (0, 0) {
                let name = CStr::from_ptr(c::rd_kafka_TopicDescription_name(topic));
                let id = CStr::from_ptr(c::rd_kafka_Uuid_base64str(id));
                found.insert(name.to_string_lossy().into_owned(), id.to_string_lossy().into_owned());
            }
        }
    }
    found
}

/// What librdkafka says of a failed transactional call.
#[derive(Debug, Clone)]
pub struct NativeError {
    pub message: String,
    pub retriable: bool,
    pub requires_abort: bool,
    /// Another producer with the same transactional id has taken over.
    pub fenced: bool,
}

/// Commits the producer's transaction; blocks until it is resolved or `timeout_ms` have passed. Delivery
/// reports must be served by another thread meanwhile. After a timeout the outcome is unknown: the call may be
/// repeated, or the producer must be given up.
pub fn commit_transaction<C: ClientContext>(client: &Client<C>, timeout_ms: i32) -> Result<(), NativeError> {
    // SAFETY: the handle is live.
    let error = unsafe { c::rd_kafka_commit_transaction(client.native_ptr(), timeout_ms) };
    if error.is_null() {
        return Ok(());
    }
    // SAFETY: a non-null error is ours to read and to destroy once.
    unsafe {
        let report = NativeError {
            message: CStr::from_ptr(c::rd_kafka_error_string(error)).to_string_lossy().into_owned(),
            retriable: c::rd_kafka_error_is_retriable(error) != 0,
            requires_abort: c::rd_kafka_error_txn_requires_abort(error) != 0,
            fenced: c::rd_kafka_error_code(error) == c::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR__FENCED,
        };
        c::rd_kafka_error_destroy(error);
        Err(report)
    }
}

/// What the broker says of a topic and of the principal's rights to it.
#[derive(Debug, Clone)]
pub struct TopicRights {
    pub topic: String,
    pub error: Option<RDKafkaErrorCode>,
    /// Granted operations, of those that are known here; `None`: the broker does not tell.
    pub operations: Option<Vec<Operation>>,
}

/// Asks what the client's principal may do with these topics.
///
/// # Errors
/// What librdkafka says when no answer comes within `timeout`.
pub fn topic_rights<C: ClientContext>(
    client: &Client<C>,
    topics: &[&str],
    timeout: Duration,
) -> Result<Vec<TopicRights>, String> {
    let names: Vec<CString> = topics.iter().filter_map(|name| CString::new(*name).ok()).collect();
    let mut pointers: Vec<_> = names.iter().map(|name| name.as_ptr()).collect();
    let timeout_ms = i32::try_from(timeout.as_millis()).unwrap_or(i32::MAX);
    let handle = client.native_ptr();
    let mut message = [0; 256];
    // SAFETY: the handle is live; queue, options, collection and event are made here, are not null (librdkafka
    // ends the process rather than return null for want of memory) and are destroyed once; the collection copies
    // the names. Everything read out of the event is copied before the event is destroyed.
    unsafe {
        let queue = c::rd_kafka_queue_new(handle);
        let options =
            c::rd_kafka_AdminOptions_new(handle, c::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_DESCRIBETOPICS);
        let refused = c::rd_kafka_AdminOptions_set_include_authorized_operations(options, 1);
        if !refused.is_null() {
            c::rd_kafka_error_destroy(refused);
        }
        // A refused timeout leaves the default of a minute.
        c::rd_kafka_AdminOptions_set_request_timeout(
            options,
            timeout_ms,
            message.as_mut_ptr(),
            message.len(),
        );
        let collection = c::rd_kafka_TopicCollection_of_topic_names(pointers.as_mut_ptr(), pointers.len());
        c::rd_kafka_DescribeTopics(handle, collection, options, queue);
        let event = c::rd_kafka_queue_poll(queue, timeout_ms.saturating_add(1_000));
        let rights = if event.is_null() {
            Err("no answer in time".to_owned())
        } else if c::rd_kafka_event_error(event) != c::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR {
            Err(CStr::from_ptr(c::rd_kafka_event_error_string(event)).to_string_lossy().into_owned())
        } else {
            let result = c::rd_kafka_event_DescribeTopics_result(event);
            let mut count = 0;
            let described = c::rd_kafka_DescribeTopics_result_topics(result, &mut count);
            Ok((0..count).map(|index| rights_of(*described.add(index))).collect())
        };
        if !event.is_null() {
            c::rd_kafka_event_destroy(event);
        }
        c::rd_kafka_TopicCollection_destroy(collection);
        c::rd_kafka_AdminOptions_destroy(options);
        c::rd_kafka_queue_destroy(queue);
        rights
    }
}

/// # Safety
/// `topic` belongs to a live result.
unsafe fn rights_of(topic: *const c::rd_kafka_TopicDescription_t) -> TopicRights {
    // SAFETY: the caller's promise; names are NUL-terminated, and `operations` has `count` entries.
    unsafe {
        let name = CStr::from_ptr(c::rd_kafka_TopicDescription_name(topic)).to_string_lossy().into_owned();
        let error = c::rd_kafka_TopicDescription_error(topic);
        let code = if error.is_null() {
            c::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR
        } else {
            c::rd_kafka_error_code(error)
        };
        let mut count = 0;
        let operations = c::rd_kafka_TopicDescription_authorized_operations(topic, &mut count);
        let known = |index: usize| operation_of(*operations.add(index));
        TopicRights {
            topic: name,
            error: (code != c::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR)
                .then(|| RDKafkaErrorCode::from(code)),
            operations: (!operations.is_null()).then(|| (0..count).filter_map(known).collect()),
        }
    }
}

fn operation_of(operation: c::rd_kafka_AclOperation_t) -> Option<Operation> {
    use c::rd_kafka_AclOperation_t as Acl;
    match operation {
        Acl::RD_KAFKA_ACL_OPERATION_DESCRIBE => Some(Operation::Describe),
        Acl::RD_KAFKA_ACL_OPERATION_READ => Some(Operation::Read),
        Acl::RD_KAFKA_ACL_OPERATION_WRITE => Some(Operation::Write),
        Acl::RD_KAFKA_ACL_OPERATION_CREATE => Some(Operation::Create),
        _ => None,
    }
}
