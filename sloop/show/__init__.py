"""What a person sees: tables, comparisons, figures, pages."""
