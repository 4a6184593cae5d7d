# Makes the small golden cases in tests/data: simulated counts and what R's packages find in them.
#   Rscript validation/make_golden.R tests/data
# Made with glmGamPoi 1.10.2, edgeR 3.40.2, DESeq2 1.38.3 (Debian's r-bioc-* packages), R 4.2.2.
# Two cases: golden12, 12 samples x 300 genes, two factors, some genes without a count; golden8, 8 samples x 200
# genes, a covariate and a factor, some genes without a count in one group (separated).
suppressMessages({library(glmGamPoi); library(edgeR); library(DESeq2)})
root <- commandArgs(TRUE)[1]
RNGkind("Mersenne-Twister", "Inversion", "Rejection"); set.seed(20)

put <- function(x, d, n, digits = 12) {
  for (j in names(x)) if (is.numeric(x[[j]])) x[[j]] <- signif(x[[j]], digits)
  f <- gzfile(file.path(root, d, paste0(n, ".csv.gz")), "w"); write.csv(x, f, row.names = FALSE, quote = FALSE); close(f)
}
counts <- function(n_genes, scale, change) {          # change: (gene, sample) natural log
  base <- exp(runif(n_genes, log(4), log(2000))); theta <- (0.05 + 2 / base) * exp(rnorm(n_genes, 0, 0.5))
  mu <- base * exp(change) * rep(scale, each = n_genes)
  Y <- matrix(rnbinom(length(mu), mu = mu, size = 1 / theta), n_genes)
  dimnames(Y) <- list(paste0("g", seq_len(n_genes)), paste0("s", seq_along(scale))); Y
}
keep <- function(d, obs, Y) {
  dir.create(file.path(root, d), showWarnings = FALSE, recursive = TRUE)
  write.csv(data.frame(sample = colnames(Y), obs), file.path(root, d, "obs.csv"), row.names = FALSE, quote = FALSE)
  put(data.frame(gene = rownames(Y), Y), d, "counts")
}
fit <- function(d, name, Y, f, obs, reduced = NULL, ...) {
  X <- model.matrix(f, obs); last <- as.numeric(seq_len(ncol(X)) == ncol(X))
  m <- suppressWarnings(glm_gp(Y, design = X, ...)); s <- m$overdispersion_shrinkage_list
  out <- data.frame(gene = rownames(Y), m$Beta, dispersion = m$overdispersions, deviance = m$deviances, check.names = FALSE)
  if (!is.null(s)) out <- data.frame(out, dispersion_trend = s$dispersion_trend, ql_dispersion = s$ql_disp_estimate,
    ql_prior = s$ql_disp_trend, ql_dispersion_shrunken = s$ql_disp_shrunken, check.names = FALSE)
  if (!is.null(s)) out$pval <- suppressWarnings(test_de(m, contrast = last))$pval   # this version tests no other
  for (i in names(reduced)) {
    u <- suppressWarnings(test_de(m, reduced_design = model.matrix(reduced[[i]], obs)))
    out[[paste0("pval_", i)]] <- u$pval
  }
  name <- paste0("glmGamPoi_", name); put(out, d, name)
  put(data.frame(sample = colnames(Y), size_factor = m$size_factors), d, paste0(name, "_samples"), 17)
  if (!is.null(s)) put(data.frame(prior_df = s$ql_df0, residual_df = ncol(Y) - ncol(X)), d, paste0(name, "_scalars"))
}

# ---- two factors ---------------------------------------------------------------------------------------------
obs <- data.frame(batch = rep(c("b1", "b2"), 6), condition = rep(c("A", "B"), each = 6),
                  offset = round(rnorm(12, 0, 0.3), 4))
change <- outer(rnorm(300) * rbinom(300, 1, 0.3), obs$condition == "B") + outer(rnorm(300, 0, 0.2), obs$batch == "b2")
Y <- counts(300, exp(rnorm(12, 0, 0.3)), change); Y[c(7, 150, 299), ] <- 0L
keep("golden12", obs, Y)
entry <- round(matrix(rnorm(length(Y), 0, 0.2), nrow(Y), dimnames = dimnames(Y)), 4)
put(data.frame(gene = rownames(Y), entry), "golden12", "offset_entry")
some <- rowSums(Y) > 0; Y <- Y[some, ]; entry <- entry[some, ]
f <- ~ batch + condition; go <- function(name, ...) fit("golden12", name, Y, f, obs, ...)
go("default", reduced = list(drop_both = ~ 1))
go("poisson", overdispersion = FALSE)
go("global_dispersion", overdispersion = "global")
go("no_shrinkage", overdispersion_shrinkage = FALSE)
go("no_cox_reid", do_cox_reid_adjustment = FALSE)
go("size_factors_none", size_factors = FALSE)
go("size_factors_poscounts", size_factors = "poscounts")
ratio <- estimateSizeFactorsForMatrix(Y); go("size_factors_ratio", size_factors = ratio / exp(mean(log(ratio))))
go("ridge_0.5", ridge_penalty = 0.5)
go("offset_sample", offset = obs$offset, size_factors = FALSE)
go("offset_entry", offset = entry, size_factors = FALSE)
e <- calcNormFactors(DGEList(Y))
put(data.frame(sample = colnames(Y), lib_size = e$samples$lib.size, norm_factor = e$samples$norm.factors), "golden12", "edgeR_samples", 17)
put(data.frame(sample = colnames(Y), size_factor = ratio), "golden12", "DESeq2_samples", 17)

# ---- a covariate and separated genes ---------------------------------------------------------------------------
obs <- data.frame(x = round(rnorm(8), 4), group = rep(c("a", "b"), 4))
change <- outer(rnorm(200) * rbinom(200, 1, 0.3), obs$group == "b") + outer(rnorm(200, 0, 0.3), obs$x)
Y <- counts(200, exp(rnorm(8, 0, 0.3)), change); Y[c(3, 90), ] <- 0L; Y[c(20, 60, 140), obs$group == "b"] <- 0L
keep("golden8", obs, Y); Y <- Y[rowSums(Y) > 0, ]
fit("golden8", "default", Y, ~ x + group, obs, reduced = list(drop_both = ~ 1))
fit("golden8", "no_shrinkage", Y, ~ x + group, obs, overdispersion_shrinkage = FALSE)
