//! The script format shared by the host and by init.
#![no_std]
