"""Addresses of signing in: allauth's, except for two that would have a secret in them, and for codes by mail."""

from allauth.account import urls, views
from django.urls import path

from accounts import mail_links

REPLACED = {"account_confirm_email", "account_reset_password_from_key"}
# Who one is, nobody shows by a code that came by mail (ACCOUNT_REAUTHENTICATION_METHODS).
LEFT_OUT = {"account_request_reauthentication_code", "account_confirm_reauthentication_code"}

urlpatterns = [
    path("confirm-email/link/", mail_links.ConfirmEmailLinkView.as_view(), name="account_confirm_email"),
    path("password/reset/link/", mail_links.reset_password_link, name="account_reset_password_link"),
    # Once the key is in the session. allauth's view takes a key too: it never comes with the address.
    path(
        "password/reset/key/<str:uidb36>-set-password/",
        views.password_reset_from_key,
        {"key": views.PasswordResetFromKeyView.reset_url_key},
        name="account_reset_password_from_key",
    ),
    *(one for one in urls.urlpatterns if one.name not in REPLACED | LEFT_OUT),
]
