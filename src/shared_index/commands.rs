//! Keys of the index, and the commands that read and write them. All writes may be repeated.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use redis::{Pipeline, RedisResult, Value, from_redis_value};

use super::change_queue::HolderChange;
use super::error::SharedIndexError;
use super::node_entry::{MAX_ENTRY_BYTES, NodeEntry, is_id};
use crate::model::Sha256;

/// Time after which an entry of a node that was not renewed ends.
const NODE_TTL: Duration = Duration::from_secs(15);

/// Time after which the holders of an object that was not used end.
const HOLDERS_TTL: Duration = Duration::from_hours(1);

/// Time after which a node that was not renewed leaves the set of all nodes. Its entry has ended
/// before. Clocks of nodes differ by less.
const LISTED_TTL: Duration = Duration::from_mins(1);

/// Nodes with the time of their last renewal. Its members name the entries.
const NODES_KEY: &str = "millpond:nodes";

/// Bound on the nodes that are read. The last ones that were renewed come first.
pub const MAX_NODES: usize = 64;

fn node_key(id: &str) -> String {
    format!("millpond:node:{id}")
}

fn holders_key(sha256: Sha256) -> String {
    format!("millpond:at:{sha256}")
}

/// Makes the commands that renew the entry of this node, and list the nodes.
pub fn renewal(own: &NodeEntry) -> Pipeline {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let now = milliseconds(now.unwrap_or_default());
    let listed = milliseconds(LISTED_TTL);
    let (oldest, newest) = (now.saturating_sub(listed), now + listed);
    let mut commands = redis::pipe();
    commands
        .cmd("SET")
        .arg(node_key(&own.id))
        .arg(own.to_json());
    commands.arg("PX").arg(milliseconds(NODE_TTL));
    commands.cmd("ZADD").arg(NODES_KEY).arg(now).arg(&own.id);
    commands.cmd("ZREMRANGEBYSCORE").arg(NODES_KEY);
    commands.arg("-inf").arg(oldest);
    commands.cmd("PEXPIRE").arg(NODES_KEY).arg(listed);
    commands.cmd("ZREVRANGEBYSCORE").arg(NODES_KEY);
    commands.arg(newest).arg(oldest);
    // One of them is this node.
    commands.arg("LIMIT").arg(0).arg(MAX_NODES + 1);
    commands
}

/// Returns the identities in the responses to [`renewal`].
pub fn listed_ids(answers: Vec<RedisResult<Value>>) -> Result<Vec<String>, SharedIndexError> {
    let mut last = Value::Nil;
    for answer in answers {
        last = answer?;
    }
    let members: Vec<Vec<u8>> = from_redis_value(last).map_err(|_| SharedIndexError::Malformed)?;
    let ids = members
        .into_iter()
        .filter_map(|member| String::from_utf8(member).ok())
        .filter(|id| is_id(id));
    Ok(ids.collect())
}

/// Makes the commands that read the entries of nodes, each up to its bound.
pub fn entries_of(ids: &[String]) -> Pipeline {
    let mut commands = redis::pipe();
    for id in ids {
        commands.cmd("GETRANGE").arg(node_key(id));
        commands.arg(0).arg(MAX_ENTRY_BYTES);
    }
    commands
}

/// Returns the valid entries in the responses to [`entries_of`].
pub fn valid_entries(ids: &[String], answers: Vec<RedisResult<Value>>) -> Vec<NodeEntry> {
    let entries = ids.iter().zip(answers).filter_map(|(id, answer)| {
        let json: Vec<u8> = from_redis_value(answer.ok()?).ok()?;
        NodeEntry::parse(id, &json)
    });
    entries.collect()
}

/// Makes the command that asks which of the nodes have an object. Its response has one number for
/// each node, whatever the index names.
pub fn are_holders(sha256: Sha256, ids: &[&str]) -> Pipeline {
    let mut commands = redis::pipe();
    commands.cmd("SMISMEMBER").arg(holders_key(sha256)).arg(ids);
    commands
}

/// Returns the answer for each node in the responses to [`are_holders`].
pub fn holder_flags(answers: Vec<RedisResult<Value>>) -> Result<Vec<bool>, SharedIndexError> {
    let answer = answers
        .into_iter()
        .next()
        .ok_or(SharedIndexError::Malformed)??;
    from_redis_value(answer).map_err(|_| SharedIndexError::Malformed)
}

/// Adds the commands that write a change of a holder.
pub fn add_change(commands: &mut Pipeline, change: &HolderChange) {
    match change {
        HolderChange::Held(sha256, id) => {
            let key = holders_key(*sha256);
            commands.cmd("SADD").arg(&key).arg(&**id);
            commands
                .cmd("PEXPIRE")
                .arg(&key)
                .arg(milliseconds(HOLDERS_TTL));
        }
        HolderChange::NotHeld(sha256, id) => {
            commands.cmd("SREM").arg(holders_key(*sha256)).arg(&**id);
        }
    }
}

fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
