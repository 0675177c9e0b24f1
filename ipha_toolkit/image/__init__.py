"""Operations on whole images: geometry, bias field, alignment."""
