//! Tests of what operators see and steer: API, jobs, events, metrics, log and page.

mod admin;
mod api;
mod api_access;
mod api_page;
mod docs_pages;
mod download_users;
mod events;
mod full_lists;
mod hung_disk_api;
mod job_files;
mod job_outcomes;
mod job_queue;
pub mod jobs;
mod lists;
mod log_loss;
mod log_schema;
mod logs;
mod metrics;
mod migrate_jobs;
pub mod openapi;
mod service_manager;
mod signals;
mod swagger;
mod ui;
mod unfinished_requests;
