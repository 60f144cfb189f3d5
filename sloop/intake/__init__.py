"""A stranger's dialogues, in whichever form and file, read as samples."""

from sloop.intake.convert import LEFT_OUT, Converted, Decisions, Form, Intake, form_in, open_dataset
from sloop.intake.forms import FORMS
from sloop.intake.sources import Source
