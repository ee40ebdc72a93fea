//! The SDK's client, made to speak as all stores understand it.

use std::time::{Duration, SystemTime};

use aws_credential_types::provider::error::CredentialsError;
use aws_credential_types::provider::{ProvideCredentials, future};
use aws_sdk_s3::Client;
use aws_sdk_s3::config::interceptors::BeforeTransmitInterceptorContextMut;
use aws_sdk_s3::config::retry::RetryConfig;
use aws_sdk_s3::config::timeout::TimeoutConfig;
use aws_sdk_s3::config::{
    BehaviorVersion, ConfigBag, Credentials, Intercept, Region, RequestChecksumCalculation,
    ResponseChecksumValidation, RuntimeComponents, StalledStreamProtectionConfig,
};
use aws_sdk_s3::error::BoxError;

use super::Config;

/// How long a connection may take to come about.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// How often one request is tried.
const ATTEMPTS: u32 = 2;

/// How long keys are used without a look into their files. The SDK looks ten seconds before the
/// end.
const KEYS_TTL: Duration = Duration::from_secs(15);

/// What signing wants to know where an operator has left it out.
const USUAL_REGION: &str = "us-east-1";

pub fn client(config: &Config) -> Result<Client, String> {
    let credentials = CredentialsProvider(config.clone());
    credentials.read()?;
    let region = if config.region.is_empty() {
        USUAL_REGION
    } else {
        &config.region
    };
    let sdk = aws_sdk_s3::Config::builder()
        .behavior_version(BehaviorVersion::v2026_01_12())
        .endpoint_url(&config.endpoint)
        .region(Region::new(region.to_owned()))
        .credentials_provider(credentials)
        .force_path_style(config.path_style)
        // OBS and Ceph know neither the newer checksums nor bodies that carry them at their end.
        .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
        .response_checksum_validation(ResponseChecksumValidation::WhenRequired)
        .interceptor(WithoutOperationName)
        .timeout_config(
            TimeoutConfig::builder()
                .connect_timeout(CONNECT_TIMEOUT)
                .build(),
        )
        .retry_config(RetryConfig::standard().with_max_attempts(ATTEMPTS))
        // Each request here has a time of its own.
        .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
        .build();
    Ok(Client::from_conf(sdk))
}

/// The keys of the configuration. Files are read again and again: tokens expire, and are replaced
/// there.
#[derive(Debug)]
struct CredentialsProvider(Config);

impl CredentialsProvider {
    fn read(&self) -> Result<Credentials, String> {
        let Self(config) = self;
        let secret = config
            .secret_access_key
            .or_from_file("s3.secret_access_key", &config.secret_access_key_file)?;
        let token = config
            .session_token
            .or_from_file("s3.session_token", &config.session_token_file)?;
        let token = Some(token.expose().to_owned()).filter(|token| !token.is_empty());
        let until = SystemTime::now() + KEYS_TTL;
        Ok(Credentials::new(
            &config.access_key_id,
            secret.expose(),
            token,
            Some(until),
            "configuration",
        ))
    }
}

impl ProvideCredentials for CredentialsProvider {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        future::ProvideCredentials::ready(self.read().map_err(CredentialsError::provider_error))
    }
}

/// Takes the query `x-id` away, by which the SDK keys the operation: OBS takes it for a part of the
/// object's name.
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
        let Some((place, query)) = request.uri().split_once('?') else {
            return Ok(());
        };
        let kept: Vec<_> = query
            .split('&')
            .filter(|pair| !pair.starts_with("x-id="))
            .collect();
        let uri = if kept.is_empty() {
            place.to_owned()
        } else {
            format!("{place}?{}", kept.join("&"))
        };
        Ok(request.set_uri(uri)?)
    }
}
