//! Delivery by SMTP with XOAUTH2.
