"""Small tags and filters that the pages share."""

from django import template

register = template.Library()
