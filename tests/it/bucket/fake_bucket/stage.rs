//! A client that sends the requests of Millpond to the bucket, with the vendor's own library.

use std::future::Future;
use std::time::{Duration, SystemTime};

use aws_sdk_s3::Client;
use aws_sdk_s3::config::interceptors::BeforeTransmitInterceptorContextMut;
use aws_sdk_s3::config::retry::RetryConfig;
use aws_sdk_s3::config::{
    BehaviorVersion, ConfigBag, Credentials, Intercept, Region, RequestChecksumCalculation,
    ResponseChecksumValidation, RuntimeComponents,
};
use aws_sdk_s3::error::{BoxError, ProvideErrorMetadata, SdkError};
use aws_sdk_s3::presigning::PresigningConfig;
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{CompletedMultipartUpload, CompletedPart};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use md5::{Digest as _, Md5};

use crate::harness::{
    ACCESS_KEY_ID, BUCKET, Body, Bucket, REGION, Request, SECRET_ACCESS_KEY, archive,
};

pub const KEY: &str = "p/objects/x-1.0.tar.gz";

/// The vendor's own client, and a bucket.
pub struct Stage {
    pub bucket: Bucket,
    pub client: Client,
    runtime: tokio::runtime::Runtime,
    pub body: Body,
}

impl Stage {
    pub fn new() -> Self {
        Self::on(Bucket::start())
    }

    pub fn on(bucket: Bucket) -> Self {
        let config = aws_sdk_s3::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .endpoint_url(bucket.endpoint())
            .region(Region::new(REGION))
            .credentials_provider(Credentials::new(
                ACCESS_KEY_ID,
                SECRET_ACCESS_KEY,
                None,
                None,
                "tests",
            ))
            .force_path_style(bucket.base_url().ends_with("/mill/"))
            .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
            .response_checksum_validation(ResponseChecksumValidation::WhenRequired)
            .retry_config(RetryConfig::disabled())
            .interceptor(WithoutOperationName)
            .build();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("it can be made");
        Self {
            bucket,
            client: Client::from_conf(config),
            runtime,
            body: archive(1, 300_000),
        }
    }

    pub fn wait<T>(&self, future: impl Future<Output = T>) -> T {
        self.runtime.block_on(future)
    }

    pub fn put(&self, key: &str, body: &[u8]) -> Result<String, String> {
        let put = self
            .client
            .put_object()
            .bucket(BUCKET)
            .key(key)
            .content_md5(md5(body));
        let put = put
            .content_disposition("attachment; filename=x")
            .metadata("uri", "https://example.org/x");
        let output = self
            .wait(put.body(ByteStream::from(body.to_vec())).send())
            .map_err(|error| code(&error))?;
        Ok(output.e_tag().unwrap_or_default().to_owned())
    }

    pub fn get(&self, key: &str) -> Result<Vec<u8>, String> {
        let get = self.client.get_object().bucket(BUCKET).key(key);
        let output = self.wait(get.send()).map_err(|error| code(&error))?;
        let body = self
            .wait(output.body.collect())
            .map_err(|error| error.to_string())?;
        Ok(body.to_vec())
    }

    pub fn list(&self, after: &str, count: i32) -> Vec<String> {
        let list = self
            .client
            .list_objects_v2()
            .bucket(BUCKET)
            .prefix("p/")
            .start_after(after);
        let mut pages = list.max_keys(count).into_paginator().send();
        let mut keys = Vec::new();
        while let Some(page) = self.wait(pages.next()) {
            let page = page.expect("a list can be had");
            keys.extend(
                page.contents()
                    .iter()
                    .filter_map(|object| object.key().map(str::to_owned)),
            );
        }
        keys
    }

    /// Begins an upload in parts, and returns its id.
    pub fn begin(&self, key: &str) -> String {
        let upload = self
            .client
            .create_multipart_upload()
            .bucket(BUCKET)
            .key(key)
            .send();
        self.wait(upload)
            .expect("an upload can be begun")
            .upload_id
            .expect("it has an id")
    }

    /// Uploads an object in parts. Returns the ETag from the response that completes the upload.
    pub fn upload(&self, key: &str, parts: &[&[u8]]) -> Result<Option<String>, String> {
        let upload = self.begin(key);
        let mut done = CompletedMultipartUpload::builder();
        for (number, part) in (1..).zip(parts) {
            let sent = self
                .client
                .upload_part()
                .bucket(BUCKET)
                .key(key)
                .upload_id(&upload)
                .part_number(number);
            let sent = sent
                .content_md5(md5(part))
                .body(ByteStream::from(part.to_vec()))
                .send();
            let etag = self.wait(sent).map_err(|error| code(&error))?.e_tag;
            done = done.parts(
                CompletedPart::builder()
                    .part_number(number)
                    .set_e_tag(etag)
                    .build(),
            );
        }
        let end = self
            .client
            .complete_multipart_upload()
            .bucket(BUCKET)
            .key(key)
            .upload_id(upload);
        let end = self
            .wait(end.multipart_upload(done.build()).send())
            .map_err(|error| code(&error))?;
        Ok(end.e_tag)
    }

    /// An address for a GET that was made so long ago, and is good for a minute.
    pub fn presigned(&self, age: Duration) -> String {
        let wish = PresigningConfig::builder()
            .expires_in(Duration::from_mins(1))
            .start_time(SystemTime::now() - age);
        let get = self.client.get_object().bucket(BUCKET).key(KEY);
        let get = get.response_content_disposition("attachment; filename=\"y-1.0.tar.gz\"");
        let get = get
            .response_content_type("application/gzip")
            .presigned(wish.build().expect("it is allowed"));
        self.wait(get).expect("it can be signed").uri().to_owned()
    }

    pub fn target(&self, url: &str) -> String {
        url.strip_prefix(&format!("http://{}", self.bucket.address()))
            .expect("it is the bucket's")
            .to_owned()
    }

    pub fn ask(&self, method: &str, target: &str) -> Request {
        Request::new(self.bucket.address(), method, target)
    }
}

/// Takes away what the SDK adds to an address by itself.
#[derive(Debug)]
struct WithoutOperationName;

impl Intercept for WithoutOperationName {
    fn name(&self) -> &'static str {
        "WithoutOperationName"
    }

    fn modify_before_signing(
        &self,
        context: &mut BeforeTransmitInterceptorContextMut<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let request = context.request_mut();
        let (place, query) = request.uri().split_once('?').unwrap_or((request.uri(), ""));
        let kept: Vec<_> = query
            .split('&')
            .filter(|pair| !pair.starts_with("x-id="))
            .collect();
        let uri = [place, "?", &kept.join("&")].concat();
        Ok(request.set_uri(uri.trim_end_matches('?'))?)
    }
}

pub fn md5(body: &[u8]) -> String {
    STANDARD.encode(Md5::digest(body))
}

/// Returns the error code of the store's response, or "no answer" if there was none.
pub fn code<E: ProvideErrorMetadata, R>(error: &SdkError<E, R>) -> String {
    match error {
        SdkError::ServiceError(refusal) => refusal.err().code().unwrap_or("none").to_owned(),
        _ => "no answer".to_owned(),
    }
}
