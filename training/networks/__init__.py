"""The networks: StyleGAN, inversion encoders, recurrent step, joint embedding, discriminators."""
