//! Reading TOML and JSON with errors that name the place.
