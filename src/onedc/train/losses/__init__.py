"""Terms of losses: pixels, distribution matching, discriminator, distillation."""
