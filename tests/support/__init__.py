"""What tests share: scripted pairs, servers, samples and models. Import as `support`."""
