//! Replicas of the bucket at the site of this node, from which objects are read first.
//!
//! A replica may lack an object, because replication is late, so that only the bucket itself
//! decides what is missing. Records are never read from a replica. The main type is
//! [`BucketReplicas`].

use std::path::PathBuf;

use super::client::BucketClient;
use super::config::Config;
use super::damaged_objects::DamagedObjects;
use super::download::{BucketBody, NearReplica};
use super::error::BucketError;
use super::key_requests;
use super::listing::list_page;
use super::replica_config::BucketReplica;
use crate::model::{ByteRange, ConfigError, Record, Secret, Sha256};

/// A replica at the site of this node.
#[derive(Debug, Clone)]
struct Replica {
    client: BucketClient,
    damaged: DamagedObjects,
}

/// The replicas at the site of this node, in the order of the configuration.
#[derive(Debug, Clone)]
pub struct BucketReplicas {
    near: Vec<Replica>,
}

impl BucketReplicas {
    /// Creates the clients of the near replicas of a bucket. Sends nothing. Fails with a line that
    /// names the key if a secret cannot be read.
    pub fn new(bucket: &BucketClient) -> Result<Self, ConfigError> {
        let config = bucket.config();
        let near = config.replicas.iter().filter(|replica| replica.is_near());
        let clients = near.map(|replica| {
            Ok(Replica {
                client: bucket.of_replica(client_config(replica, config))?,
                damaged: DamagedObjects::default(),
            })
        });
        Ok(Self {
            near: clients.collect::<Result<_, ConfigError>>()?,
        })
    }

    /// Opens a range of an object at the first near replica that has it. Returns `None` if none
    /// sends it.
    pub async fn open(
        &self,
        bucket: &BucketClient,
        sha256: Sha256,
        size_bytes: u64,
        range: ByteRange,
    ) -> Option<BucketBody> {
        for replica in self.not_damaged(sha256) {
            match BucketBody::open(&replica.client, sha256, size_bytes, range).await {
                Ok(body) => {
                    return Some(body.with_replica(NearReplica {
                        bucket: Some(bucket.clone()),
                        damaged: replica.damaged.clone(),
                    }));
                }
                Err(BucketError::Damaged) => {
                    let endpoint = &replica.client.config().endpoint;
                    tracing::error!(%sha256, endpoint, "replica has an object of another length");
                    replica.damaged.add(sha256);
                }
                Err(error) => tracing::debug!(%error, %sha256, "replica has not sent an object"),
            }
        }
        None
    }

    /// Returns the client of the first near replica that has the object of a record.
    pub async fn holder_of(&self, record: &Record) -> Option<&BucketClient> {
        for replica in self.not_damaged(record.sha256) {
            let key = replica.client.keys().object(record.sha256);
            let found = key_requests::head(&replica.client, &key).await;
            let found = found.ok().flatten();
            if found.is_some_and(|found| found.size_bytes == record.size_bytes) {
                return Some(&replica.client);
            }
        }
        None
    }

    /// Sends a request to each replica that has failed.
    pub async fn probe_failing(&self) {
        for replica in &self.near {
            if replica.client.last_error().is_some()
                && let Err(error) = probe(&replica.client).await
            {
                tracing::debug!(%error, "probe of a replica failed");
            }
        }
    }

    /// Sends a request to each replica. Returns their URLs with the results.
    pub async fn check(&self) -> Vec<(String, Result<(), BucketError>)> {
        let mut results = Vec::new();
        for replica in &self.near {
            let endpoint = replica.client.config().endpoint.clone();
            results.push((endpoint, probe(&replica.client).await));
        }
        results
    }

    fn not_damaged(&self, sha256: Sha256) -> impl Iterator<Item = &Replica> {
        let near = self.near.iter();
        near.filter(move |replica| !replica.damaged.has(sha256))
    }
}

async fn probe(client: &BucketClient) -> Result<(), BucketError> {
    let page = list_page(client, &client.keys().objects(), "", 1).await;
    page.map(drop)
}

/// Returns the configuration of a client of the replica. Object keys are those of the bucket.
fn client_config(replica: &BucketReplica, main: &Config) -> Config {
    let or_main = |own: &String, main: &String| {
        let value = if own.is_empty() { main } else { own };
        value.clone()
    };
    let mut config = Config {
        endpoint: replica.endpoint.clone(),
        region: or_main(&replica.region, &main.region),
        bucket: or_main(&replica.bucket, &main.bucket),
        public_base_url: String::new(),
        replicas: Vec::new(),
        ..main.clone()
    };
    if !replica.access_key_id.is_empty() {
        config.access_key_id.clone_from(&replica.access_key_id);
        config.secret_access_key = replica.secret_access_key.clone();
        config
            .secret_access_key_file
            .clone_from(&replica.secret_access_key_file);
        config.session_token = Secret::default();
        config.session_token_file = PathBuf::new();
    }
    config
}
