//! The few system calls that std does not offer. They are declared by hand, because std links the system's libraries
//! already.
//!
//! This is one of the two modules of the crate with `unsafe` code. Every function here is safe to call: descriptors are
//! passed as borrowed or owned types of std, or have no owner ([`inherited`]), and every pointer that is passed to the
//! system points into a value that outlives the call.
//!
//! The interface is the same on all systems: a [`Handle`] is a borrowed descriptor or socket, and [`Raw`] is its number.
#![allow(unsafe_code)]

mod ffi;
#[cfg(unix)]
pub(super) mod inherited;
#[cfg(any(target_os = "linux", target_os = "android"))]
mod linux;
#[cfg(not(any(target_os = "linux", target_os = "android")))]
mod plain;
#[cfg(unix)]
mod unix;
mod wait;
#[cfg(windows)]
mod windows;

#[cfg(any(target_os = "linux", target_os = "android"))]
pub(super) use linux::*;
#[cfg(not(any(target_os = "linux", target_os = "android")))]
pub(super) use plain::*;
#[cfg(unix)]
pub(super) use unix::*;
pub use wait::Interest;
pub(super) use wait::{is_hung_up, wait_for};
#[cfg(windows)]
pub(super) use windows::*;
