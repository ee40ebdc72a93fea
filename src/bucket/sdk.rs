//! The SDK's client, configured so that all S3-compatible stores understand its requests, and
//! conversions of the SDK's values.
//!
//! The SDK looks up the endpoint's name by `getaddrinfo`. Another resolver would need the trait
//! `ResolveDns` and the HTTP client of the SDK, and its crate exports neither.

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
use aws_sdk_s3::primitives::DateTime;

use super::Config;
use crate::model::ConfigError;

/// Timeout for connecting.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// Attempts for one request, the first included.
const ATTEMPTS: u32 = 2;

/// Time after which the secret files are read again. The SDK reads them ten seconds earlier.
const CREDENTIALS_TTL: Duration = Duration::from_secs(15);

/// Region for signatures if none is configured.
const DEFAULT_REGION: &str = "us-east-1";

/// Builds the client. Fails with a line that names the key if a secret cannot be read.
pub fn build_client(config: &Config) -> Result<Client, ConfigError> {
    let credentials = CredentialsProvider(config.clone());
    credentials.read()?;
    let region = if config.region.is_empty() {
        DEFAULT_REGION
    } else {
        &config.region
    };
    let sdk = aws_sdk_s3::Config::builder()
        .behavior_version(BehaviorVersion::v2026_01_12())
        .endpoint_url(&config.endpoint)
        .region(Region::new(region.to_owned()))
        .credentials_provider(credentials)
        .force_path_style(config.path_style)
        // OBS and Ceph support neither the newer checksums nor bodies with checksums in trailers.
        .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
        .response_checksum_validation(ResponseChecksumValidation::WhenRequired)
        .interceptor(WithoutOperationName)
        .timeout_config(
            TimeoutConfig::builder()
                .connect_timeout(CONNECT_TIMEOUT)
                .build(),
        )
        .retry_config(RetryConfig::standard().with_max_attempts(ATTEMPTS))
        // Each request of this module has its own timeout.
        .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
        .build();
    Ok(Client::from_conf(sdk))
}

/// Converts a length. A missing or negative length counts as 0.
pub fn size_bytes(length: Option<i64>) -> u64 {
    length
        .and_then(|length| u64::try_from(length).ok())
        .unwrap_or(0)
}

/// Converts a time. A missing or unrepresentable time counts as 1970.
pub fn system_time(time: Option<&DateTime>) -> SystemTime {
    time.and_then(|time| SystemTime::try_from(*time).ok())
        .unwrap_or(SystemTime::UNIX_EPOCH)
}

/// Credentials from the configuration. Secret files are read again every [`CREDENTIALS_TTL`],
/// because tokens expire and are replaced in their file.
#[derive(Debug)]
struct CredentialsProvider(Config);

impl CredentialsProvider {
    fn read(&self) -> Result<Credentials, ConfigError> {
        let Self(config) = self;
        let secret = config
            .secret_access_key
            .or_from_file("s3.secret_access_key", &config.secret_access_key_file)?;
        let token = config
            .session_token
            .or_from_file("s3.session_token", &config.session_token_file)?;
        let token = Some(token.expose().to_owned()).filter(|token| !token.is_empty());
        let expires_at = SystemTime::now() + CREDENTIALS_TTL;
        Ok(Credentials::new(
            &config.access_key_id,
            secret.expose(),
            token,
            Some(expires_at),
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

/// Removes the query parameter `x-id`, with which the SDK names the operation. OBS takes the
/// parameter for a part of the object's key.
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
        let Some((path, query)) = request.uri().split_once('?') else {
            return Ok(());
        };
        let parameters: Vec<_> = query
            .split('&')
            .filter(|parameter| !parameter.starts_with("x-id="))
            .collect();
        let uri = if parameters.is_empty() {
            path.to_owned()
        } else {
            format!("{path}?{}", parameters.join("&"))
        };
        Ok(request.set_uri(uri)?)
    }
}
