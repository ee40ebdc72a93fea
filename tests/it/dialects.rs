//! Requests of build systems below `/mirror/<dialect>/`, as each of them sends them.

mod routes;
