//! AADSTS codes of Entra ID.
