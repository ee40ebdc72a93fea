//! Tests of the commands.

mod check_config;
mod client_answers;
mod client_commands;
mod doctor;
mod gateway_option;
mod lists;
mod messages;
mod operator_commands;
mod outputs;
mod part_files;
mod top;
